"""An ONNX model that answers v2 requests. Loading one runs no code of its maker's."""

from collections import Counter
from typing import Any, Final

import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from modelyard.serving.errors import RefusedError, first_line, near, show
from modelyard.serving.protocol import InferRequest
from modelyard.serving.tensors import TensorSpec, read_tensor, write_tensor

# onnxruntime's errors have no base class of their own
RUNTIME_ERRORS: Final[tuple[type[Exception], ...]] = (
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
)


class OnnxModel:
    """One version of one model.

    Raises:
        ValueError: the bytes are no ONNX model, or one with tensors that v2 can't carry, or it can't score one row of
            zeros and empty strings.
    """

    def __init__(self, name: str, version: str, digest: str, content: bytes) -> None:
        self.name = name
        self.version = version
        self.digest = digest
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # requests run beside one another; a row needs no second core
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except RUNTIME_ERRORS as error:
            raise ValueError(f"its file is not an ONNX model that can run here: {reason(error)}") from error
        self.inputs = {node.name: TensorSpec.of(node) for node in self._session.get_inputs()}
        self.outputs = {node.name: TensorSpec.of(node) for node in self._session.get_outputs()}
        try:
            self._session.run(None, {name: spec.blank() for name, spec in self.inputs.items()})
        except RUNTIME_ERRORS as error:
            raise ValueError(f"it can't score a row of zeros and empty strings: {reason(error)}") from error

    def metadata(self) -> dict[str, Any]:
        """The v2 metadata; the file's own properties and its digest are the parameters."""
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": "onnxruntime_onnx",
            "inputs": [spec.metadata() for spec in self.inputs.values()],
            "outputs": [spec.metadata() for spec in self.outputs.values()],
            "parameters": {**self._session.get_modelmeta().custom_metadata_map, "digest": self.digest},
        }

    def infer(self, request: InferRequest) -> tuple[dict[str, Any], int]:
        """The v2 answer, and how many rows it scored.

        Raises:
            RefusedError: the request does not fit the model, or the model can't answer it.
        """
        wanted = self._wanted(request)
        feed = self._feed(request)
        try:
            values = self._session.run(wanted, feed)
        except RUNTIME_ERRORS as error:
            raise RefusedError(f"model {show(self.name)} can't score these inputs: {reason(error)}") from error
        answer: dict[str, Any] = {"model_name": self.name, "model_version": self.version}
        if request.id is not None:
            answer["id"] = request.id
        answer["outputs"] = [
            write_tensor(self.outputs[name], value) for name, value in zip(wanted, values, strict=True)
        ]
        return answer, next((len(value) for value in feed.values() if value.ndim), 1)

    def _wanted(self, request: InferRequest) -> list[str]:
        if not request.outputs:
            return list(self.outputs)
        names = [output.name for output in request.outputs]
        once("output", names, self.outputs)
        return names

    def _feed(self, request: InferRequest) -> dict[str, NDArray[Any]]:
        names = [sent.name for sent in request.inputs]
        once("input", names, self.inputs)
        if missing := [name for name in self.inputs if name not in set(names)]:
            raise RefusedError(f"the model also needs input {', '.join(map(show, missing[:10]))}")
        feed = {sent.name: read_tensor(self.inputs[sent.name], sent) for sent in request.inputs}
        one_size_each(self.inputs, feed)
        return feed


def reason(error: Exception) -> str:
    """What onnxruntime says, without its codes."""
    return first_line(error).rpartition("[ONNXRuntimeError] : ")[2].split(" : ", 2)[-1]


def once(what: str, names: list[str], known: dict[str, TensorSpec]) -> None:
    """Refuse a name that the model does not have, or that comes twice."""
    for name, count in Counter(names).items():
        if name not in known:
            raise RefusedError(f"the model has no {what} {show(name)}: {near(name, known)}")
        if count > 1:
            raise RefusedError(f"{what} {show(name)} comes {count} times; send it once")


def one_size_each(specs: dict[str, TensorSpec], feed: dict[str, NDArray[Any]]) -> None:
    """Refuse inputs that differ in a dimension they share: the same symbol, or a nameless first one (the batch)."""
    seen: dict[str, tuple[str, int]] = {}
    for name, values in feed.items():
        for axis, (dim, size) in enumerate(zip(specs[name].dims, values.shape, strict=True)):
            symbol = dim if isinstance(dim, str) else "" if dim is None and axis == 0 else None
            if symbol is None:
                continue
            other, expected = seen.setdefault(symbol, (name, size))
            if size != expected:
                what = "rows" if axis == 0 else f"elements in dimension {axis}"
                raise RefusedError(
                    f"input {show(name)} has {size} {what} and input {show(other)} has {expected}; "
                    "they need the same number"
                )
