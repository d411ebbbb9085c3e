"""A model as an ONNX file: it runs no code when loaded, and says itself what it takes and answers."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from components.science.table import need_column

METADATA_KEY = "modelyard"
OUTPUTS = frozenset({"label", "probabilities"})

Tensors = dict[str, npt.NDArray[Any]]


class About(BaseModel):
    """What travels in the file's own metadata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    classes: list[str]
    positive: str
    features: dict[str, Literal["float", "string"]]


@dataclass(frozen=True)
class Scores:
    """For each row: the label that a caller will be given, and the probability of the positive class."""

    labels: npt.NDArray[np.str_]
    positive: npt.NDArray[np.float64]


class OnnxModel:
    """A model to be scored, from the bytes of its file.

    Raises:
        ValueError: the bytes are no ONNX model, or one that doesn't say what it takes and answers.
    """

    def __init__(self, raw: bytes) -> None:
        import onnxruntime as ort  # starts a thread when imported, and the gate needs none

        options = ort.SessionOptions()
        # One thread: the same sums on every machine, and steps that run side by side don't fight for the cores.
        options.intra_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
            about = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "{}")
            self.about = About.model_validate_json(about)
        except ValidationError as error:
            raise ValueError(f"the model's file has no description of it under {METADATA_KEY!r}") from error
        except Exception as error:  # onnxruntime's have no class of their own
            raise ValueError(f"the model's file is no ONNX model: {str(error).splitlines()[0]}") from error

    def score(self, table: pd.DataFrame) -> Scores:
        """Score the rows of `table`, which may have more columns than the model takes."""
        labels, probabilities = self._session.run(["label", "probabilities"], to_tensors(table, self.about.features))
        place = self.about.classes.index(self.about.positive)
        return Scores(np.asarray(labels, dtype=np.str_), np.asarray(probabilities[:, place], dtype=np.float64))


def to_tensors(table: pd.DataFrame, features: dict[str, Literal["float", "string"]]) -> Tensors:
    """One tensor [rows, 1] a feature. A text that is missing is the empty text, since ONNX has no other."""
    tensors: Tensors = {}
    for name, kind in features.items():
        need_column(table, name, "feature")
        if kind == "float":
            tensors[name] = table[[name]].to_numpy(np.float32)
        else:
            tensors[name] = table[[name]].astype("object").fillna("").to_numpy(object)
    return tensors
