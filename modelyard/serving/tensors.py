"""What a model says of its tensors, and their way from JSON to numpy and back."""

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelyard.serving.errors import RefusedError, show
from modelyard.serving.protocol import RequestInput

DATATYPES: Final[dict[str, tuple[str, type]]] = {
    "tensor(bool)": ("BOOL", np.bool_),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(uint16)": ("UINT16", np.uint16),
    "tensor(uint32)": ("UINT32", np.uint32),
    "tensor(uint64)": ("UINT64", np.uint64),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(int16)": ("INT16", np.int16),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(float16)": ("FP16", np.float16),
    "tensor(float)": ("FP32", np.float32),
    "tensor(double)": ("FP64", np.float64),
    "tensor(string)": ("BYTES", np.object_),
}
"""ONNX's name of a tensor type: the v2 datatype and the numpy type."""

ELEMENTS: Final[dict[str, tuple[frozenset[type], str]]] = {
    "b": (frozenset({bool}), "true or false"),
    "i": (frozenset({int}), "a whole number"),
    "u": (frozenset({int}), "a whole number"),
    "f": (frozenset({int, float}), "a number"),
    "O": (frozenset({str}), "a string"),
}
"""A numpy kind: what JSON may hold for it, and that in words."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; a dimension is a size, a symbol that other tensors may share, or None (any size)."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    dims: tuple[int | str | None, ...]

    @classmethod
    def of(cls, node: Any) -> "TensorSpec":
        """Of onnxruntime's description.

        Raises:
            ValueError: v2 has no datatype for it.
        """
        if node.type not in DATATYPES:
            raise ValueError(
                f"tensor {node.name!r} is {node.type}, for which the v2 protocol has no datatype; "
                "convert the model with plain tensors (zipmap off)"
            )
        datatype, dtype = DATATYPES[node.type]
        return cls(node.name, datatype, np.dtype(dtype), tuple(node.shape))

    @property
    def shape(self) -> list[int]:
        """As v2 writes it: -1 for a dimension of any size."""
        return [dim if isinstance(dim, int) else -1 for dim in self.dims]

    def metadata(self) -> dict[str, Any]:
        """The tensor in the model's metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}

    def blank(self) -> NDArray[Any]:
        """One row of zeros or empty strings."""
        value = "" if self.dtype.kind == "O" else 0
        return np.full([max(dim, 1) for dim in self.shape], value, dtype=self.dtype)


def read_tensor(spec: TensorSpec, sent: RequestInput) -> NDArray[Any]:
    """The array that a client sent.

    Raises:
        RefusedError: it is not of the model's datatype or shape, or its data is not what its shape and datatype say.
    """
    where = f"input {show(spec.name)}"
    if sent.datatype != spec.datatype:
        raise RefusedError(f"{where} has datatype {show(sent.datatype)}; the model takes {spec.datatype}")
    if len(sent.shape) != len(spec.shape) or any(
        size != dim for size, dim in zip(sent.shape, spec.shape, strict=True) if dim != -1
    ):
        raise RefusedError(f"{where} has shape {show(sent.shape)}; the model takes {spec.shape} (-1 is any size)")
    if 0 in sent.shape:
        raise RefusedError(f"{where} has shape {show(sent.shape)}, an empty batch; send at least one row")
    return array(where, spec, flatten(where, sent.data, sent.shape)).reshape(sent.shape)


def flatten(where: str, data: list[Any], shape: list[int]) -> list[Any]:
    """The elements in row-major order, from data that is flat or nested as `shape` says."""
    if not (data and isinstance(data[0], list)):
        if len(data) != math.prod(shape):
            raise RefusedError(f"{where} has {len(data)} elements; its shape {show(shape)} says {math.prod(shape)}")
        return data
    parts: list[Any] = [data]
    for axis, size in enumerate(shape):
        if not all(isinstance(part, list) and len(part) == size for part in parts):
            raise RefusedError(
                f"{where}: its nested data does not have {show(size)} elements in each list of dimension {axis}, "
                f"as its shape {show(shape)} says"
            )
        parts = list(chain.from_iterable(parts))
    return parts


def array(where: str, spec: TensorSpec, elements: list[Any]) -> NDArray[Any]:
    """A flat array of the model's datatype; nothing is rounded to another kind, cut off or made infinite."""
    allowed, words = ELEMENTS[spec.dtype.kind]
    if not allowed.issuperset(map(type, elements)):
        at = next(at for at, element in enumerate(elements) if type(element) not in allowed)
        raise RefusedError(f"{where}: element {at} is {show(elements[at])}; {spec.datatype} takes {words}")
    if spec.dtype.kind in "bO":
        return np.array(elements, dtype=spec.dtype)
    try:
        with np.errstate(over="ignore"):
            numbers: NDArray[Any] = np.array(elements, dtype=spec.dtype)
        fits = bool(np.isfinite(numbers).all())
    except OverflowError:
        fits = False
    if not fits:
        low, high = limits(spec.dtype)
        at = next(at for at, element in enumerate(elements) if not low <= element <= high)
        raise RefusedError(f"{where}: element {at} is {show(elements[at])}, which does not fit {spec.datatype}")
    return numbers


def limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the greatest number of a kind; whole ones as int, which compares exactly."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def write_tensor(spec: TensorSpec, values: NDArray[Any]) -> dict[str, Any]:
    """An output as v2 writes it, its data flat in row-major order.

    Raises:
        RefusedError: a value is not finite: JSON has no such number, v2 has no null, and nobody could act on it.
    """
    if spec.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        at = int(np.argmin(finite))
        raise RefusedError(
            f"output {show(spec.name)}: element {at} came out as {values.flat[at]}, which JSON can't carry; "
            "look at that row's inputs, or leave this output out of the request's outputs"
        )
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(values.shape), "data": values.ravel().tolist()}
