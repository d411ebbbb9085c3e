"""Small real ONNX models, and requests for them."""

import json
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

Shape = list[int | str | None]


def model_of(nodes: list[NodeProto], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def house(factor: float = 1.0) -> bytes:
    """Takes `age` and `city` as columns; gives `price` = age * factor, and `label` = city."""
    column: Shape = [None, 1]
    model = model_of(
        [
            helper.make_node("Constant", [], ["factor"], value_float=float(factor)),
            helper.make_node("Mul", ["age", "factor"], ["price"]),
            helper.make_node("Identity", ["city"], ["label"]),
        ],
        [
            helper.make_tensor_value_info("age", TensorProto.FLOAT, column),
            helper.make_tensor_value_info("city", TensorProto.STRING, column),
        ],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, column),
            helper.make_tensor_value_info("price", TensorProto.FLOAT, column),
        ],
    )
    helper.set_model_props(model, {"modelyard": json.dumps({"classes": ["Rome", "Oslo"]})})
    return bytes(model.SerializeToString())


def one_to_one(operator: str, kind: int, shape: Shape) -> bytes:
    """Applies one operator to `x`, which gives `y` of the same kind and shape."""
    value = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    return bytes(model_of([helper.make_node(operator, ["x"], ["y"])], value[:1], value[1:]).SerializeToString())


def slow() -> bytes:
    """Takes `x`, one number; works on it for some tenths of a second."""
    size = 1000
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [size, size])
    nodes = [
        helper.make_node("Constant", [], ["size"], value_ints=[size, size]),
        helper.make_node("Expand", ["x", "size"], ["square"]),
        helper.make_node("MatMul", ["square", "square"], ["product"]),
        helper.make_node("MatMul", ["product", "square"], ["y"]),
    ]
    return bytes(model_of(nodes, [x], [y]).SerializeToString())


def tensor(name: str, datatype: str, data: list[Any], shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def rows(ages: list[Any], cities: list[Any]) -> dict[str, Any]:
    """A request for `house`."""
    return {
        "inputs": [
            tensor("age", "FP32", ages, [len(ages), 1]),
            tensor("city", "BYTES", cities, [len(cities), 1]),
        ]
    }
