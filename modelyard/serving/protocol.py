"""Messages of the Open Inference Protocol v2 that a client sends.

The protocol extends itself by `parameters` and leaves its objects open, so unknown fields and parameters are passed
over. The one message of our own, `LoadParameters`, is closed: a misspelled version must not load the champion.
Types are strict: "2" is not a shape.
"""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from modelyard.serving.errors import RefusedError, show

Size = Annotated[int, Field(ge=0, lt=2**63)]


class Message(BaseModel):
    """Base of everything that is read from a body."""

    model_config = ConfigDict(strict=True, frozen=True)


class RequestInput(Message):
    """A tensor: its data flat in row-major order, or nested as its shape says."""

    name: str
    shape: Annotated[list[Size], FailFast()]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any]


class RequestOutput(Message):
    """A tensor that the client wants back."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(Message):
    """Tensors to score; without `outputs`, all are returned."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[RequestInput], FailFast()]
    outputs: Annotated[list[RequestOutput], FailFast()] = []


class IndexRequest(Message):
    """Which models to list: all, or those that answer."""

    ready: bool = False


class LoadParameters(Message):
    """Which version to load; the champion if it doesn't say."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: str | None = None


class LoadRequest(Message):
    """The body of `load`."""

    parameters: LoadParameters = LoadParameters()


AMessage = TypeVar("AMessage", bound=Message)


def parse(message: type[AMessage], body: bytes) -> AMessage:
    """Read a body.

    Raises:
        RefusedError: it is not JSON, or not this message; the first thing that is wrong is named.
    """
    try:
        return message.model_validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if wrong["type"] == "json_invalid":
            raise RefusedError(f"the body is not JSON: {wrong['msg'].removeprefix('Invalid JSON: ')}") from None
        raise RefusedError(f"{path(wrong['loc'])}: {wrong['msg']}") from None


def path(location: tuple[int | str, ...]) -> str:
    """Where in a body: `inputs[0].shape`."""
    steps = (f".{step}"[:80] if str(step).isidentifier() else f"[{show(step)}]" for step in location)
    return "".join(steps).removeprefix(".") or "the body"
