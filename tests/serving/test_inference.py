"""Infer and metadata, over HTTP in this process."""

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.serving.conftest import Client
from tests.serving.folder_registry import FolderRegistry
from tests.serving.graphs import Shape, house, model_of, one_to_one, rows, slow, tensor

INFER = "/v2/models/house/infer"


def error(client: Client, body: Any, status: int = 400, path: str = INFER) -> str:
    """The sentence of a refusal."""
    answer = client.post(path, content=body if isinstance(body, (bytes, str)) else json.dumps(body))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (sentence,) = answer.json().values()
    assert list(answer.json()) == ["error"]
    return str(sentence)


def served(client: Client, registry: FolderRegistry, content: bytes) -> str:
    """The infer path of one more model."""
    registry.add("other", "1", content)
    assert client.post("/v2/repository/models/other/load").status_code == 200
    return "/v2/models/other/infer"


def test_metadata_tells_the_models_real_inputs_outputs_and_properties(client: Client) -> None:
    metadata = client.get("/v2/models/house").json()
    assert metadata["inputs"] == [
        {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
    ]
    assert metadata["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "price", "datatype": "FP32", "shape": [-1, 1]},
    ]
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("house", ["1"], "onnxruntime_onnx")
    assert json.loads(metadata["parameters"]["modelyard"]) == {"classes": ["Rome", "Oslo"]}
    assert metadata["parameters"]["digest"].startswith("sha256:")
    assert client.get("/v2/models/house/versions/1").json() == metadata


def test_the_server_tells_what_it_is_and_that_it_is_ready(client: Client) -> None:
    assert client.get("/v2").json()["extensions"] == ["model_repository"]
    for path in ("health/live", "health/ready", "models/house/ready", "models/house/versions/1/ready"):
        assert client.get(f"/v2/{path}").status_code == 200, path


def test_rows_are_scored_and_the_id_comes_back(client: Client) -> None:
    answer = client.post(INFER, json={"id": "r-1", "parameters": {"any": 1}, **rows([30, 41.5], ["Rome", "Zürich"])})
    assert answer.json() == {
        "model_name": "house",
        "model_version": "1",
        "id": "r-1",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2, 1], "data": ["Rome", "Zürich"]},
            {"name": "price", "datatype": "FP32", "shape": [2, 1], "data": [30.0, 41.5]},
        ],
    }


def test_data_may_be_nested_as_its_shape_says(client: Client) -> None:
    flat, nested = rows([30, 41], ["Rome", "Oslo"]), rows([[30], [41]], [["Rome"], ["Oslo"]])
    assert client.post(INFER, json=nested).json() == client.post(INFER, json=flat).json()


def test_only_the_requested_outputs_come_back_in_the_requested_order(client: Client) -> None:
    def names(*wanted: str) -> list[str]:
        answer = client.post(INFER, json={**rows([30], ["Rome"]), "outputs": [{"name": name} for name in wanted]})
        return [output["name"] for output in answer.json()["outputs"]]

    assert names("price") == ["price"]
    assert names("price", "label") == ["price", "label"]


def test_unknown_fields_are_passed_over_because_the_protocol_grows(client: Client) -> None:
    body = rows([30], ["Rome"])
    body["inputs"][0]["news"] = 1
    assert client.post(INFER, json={**body, "priority": 3}).status_code == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "the body is not JSON"),
        ("{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        ('{"inputs": "\\ud800"}', "the body is not JSON"),
        ("[" * 100_00 + "]" * 100_00, "more than 5000 bytes"),
        ("[" * 2000 + "]" * 2000, "the body is not JSON"),
        ("[]", "the body: "),
        ({}, "inputs: Field required"),
        ({"inputs": []}, 'the model also needs input "age", "city"'),
        ({"id": 7, "inputs": []}, "id: "),
        ({"inputs": [{"name": "age"}]}, "inputs[0].shape: "),
    ],
)
def test_a_body_that_is_no_infer_request_is_refused_with_the_place(client: Client, body: Any, reason: str) -> None:
    assert reason in error(client, body, 413 if "bytes" in reason else 400)


def changed(**fields: Any) -> dict[str, Any]:
    """A request of two rows with other fields in `age`."""
    body = rows([1, 2], ["Rome", "Oslo"])
    body["inputs"][0].update(fields)
    return body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (changed(datatype="FP64"), 'input "age" has datatype "FP64"; the model takes FP32'),
        (changed(shape=[2]), 'input "age" has shape [2]; the model takes [-1, 1]'),
        (changed(shape=[2, 2]), 'input "age" has shape [2, 2]; the model takes [-1, 1]'),
        (changed(shape=[-1, 1]), "inputs[0].shape[0]: "),
        (changed(shape=["2", 1]), "inputs[0].shape[0]: "),
        (changed(shape=[10**400, 1]), "inputs[0].shape[0]: "),
        (changed(shape=[2**62, 1]), f"has 2 elements; its shape [{2**62}, 1] says {2**62}"),
        (changed(data=[1]), 'input "age" has 1 elements; its shape [2, 1] says 2'),
        (changed(data=[[1, 2]]), "does not have 2 elements in each list of dimension 0"),
        (changed(data=[[1], 2]), "does not have 1 elements in each list of dimension 1"),
        (changed(data=[[[1]], [[2]]]), "element 0 is [1]; FP32 takes a number"),
        (changed(data=[1, [2]]), "element 1 is [2]; FP32 takes a number"),
        (changed(data=7), "inputs[0].data: "),
        (changed(data=[1, "2"]), 'element 1 is "2"; FP32 takes a number'),
        (changed(data=[1, True]), "element 1 is true; FP32 takes a number"),
        (changed(data=[1, None]), "element 1 is null; FP32 takes a number"),
        (changed(data=[1, float("nan")]), "element 1 is NaN, which does not fit FP32"),
        (changed(data=[1, float("inf")]), "element 1 is Infinity, which does not fit FP32"),
        (changed(data=[1, 1e39]), "element 1 is 1e+39, which does not fit FP32"),
        (changed(data=[1, -(10**400)]), "which does not fit FP32"),
        (changed(name="agee"), "the model has no input \"agee\": did you mean 'age'?"),
        (changed(name="city"), 'input "city" comes 2 times'),
        ({"inputs": changed()["inputs"][:1]}, 'the model also needs input "city"'),
        (rows([], []), "an empty batch; send at least one row"),
        (rows([1], ["Rome", "Oslo"]), 'input "city" has 2 rows and input "age" has 1'),
        (rows([1], [7]), "element 0 is 7; BYTES takes a string"),
        ({**changed(), "outputs": [{"name": "prise"}]}, "the model has no output \"prise\": did you mean 'price'?"),
        ({**changed(), "outputs": [{"name": "price"}] * 2}, 'output "price" comes 2 times'),
    ],
)
def test_a_request_that_does_not_fit_the_model_is_refused_with_the_reason(
    client: Client, body: Any, reason: str
) -> None:
    assert reason in error(client, body)


def test_a_long_value_does_not_come_back_whole(client: Client) -> None:
    assert len(error(client, changed(name="x" * 3000))) < 200


@pytest.mark.parametrize(
    ("datatype", "kind", "fitting", "unfit"),
    [
        ("BOOL", TensorProto.BOOL, [True, False], 1),
        ("UINT8", TensorProto.UINT8, [0, 255], 256),
        ("UINT16", TensorProto.UINT16, [0, 2**16 - 1], -1),
        ("UINT32", TensorProto.UINT32, [0, 2**32 - 1], 2**32),
        ("UINT64", TensorProto.UINT64, [0, 2**64 - 1], 2**64),
        ("INT8", TensorProto.INT8, [-128, 127], 128),
        ("INT16", TensorProto.INT16, [-(2**15), 2**15 - 1], 1.0),
        ("INT32", TensorProto.INT32, [-(2**31), 2**31 - 1], True),
        ("INT64", TensorProto.INT64, [-(2**63), 2**63 - 1], 2**63),
        ("FP16", TensorProto.FLOAT16, [0.5, -65504], 1e5),
        ("FP32", TensorProto.FLOAT, [0.5, -(2.0**127)], 1e39),
        ("FP64", TensorProto.DOUBLE, [0.1, -1.7e308], 10**309),
        ("BYTES", TensorProto.STRING, ["", "a\x00é"], None),
    ],
)
def test_every_datatype_goes_in_and_comes_out_unchanged_or_is_refused(
    client: Client, registry: FolderRegistry, *, datatype: str, kind: int, fitting: list[Any], unfit: Any
) -> None:
    path = served(client, registry, one_to_one("Identity", kind, [None]))
    answer = client.post(path, json={"inputs": [tensor("x", datatype, fitting, [2])]})
    assert answer.json()["outputs"] == [tensor("y", datatype, fitting, [2])]
    assert (
        f"; {datatype} takes"
        in (sentence := error(client, {"inputs": [tensor("x", datatype, [unfit], [1])]}, path=path))
        or f"does not fit {datatype}" in sentence
    )


def test_the_server_goes_on_answering_while_it_scores(client: Client, registry: FolderRegistry) -> None:
    path = served(client, registry, slow())
    done = []

    async def ask(method: str, path: str, **rest: Any) -> None:
        (await client.http.request(method, path, **rest)).raise_for_status()
        done.append(method)

    async def ask_both() -> None:
        await asyncio.gather(ask("POST", path, json={"inputs": [tensor("x", "FP32", [0], [1, 1])]}), ask("GET", "/v2"))

    client.run(ask_both())
    assert done == ["GET", "POST"]


def test_data_is_row_major(client: Client, registry: FolderRegistry) -> None:
    path = served(client, registry, one_to_one("Identity", TensorProto.INT64, [None, 2, 3]))
    cube = np.arange(12).reshape(2, 2, 3)
    for data in (cube.tolist(), cube.ravel().tolist()):
        (output,) = client.post(path, json={"inputs": [tensor("x", "INT64", data, [2, 2, 3])]}).json()["outputs"]
        assert output == tensor("y", "INT64", list(range(12)), [2, 2, 3])


def test_a_number_that_comes_out_infinite_is_refused_because_json_has_none(
    client: Client, registry: FolderRegistry
) -> None:
    path = served(client, registry, one_to_one("Exp", TensorProto.FLOAT, [None]))
    body = {"inputs": [tensor("x", "FP32", [0, 1000], [2])]}
    assert 'output "y": element 1 came out as inf' in error(client, body, path=path)


def test_what_the_model_itself_refuses_is_told_and_not_a_fault_of_the_server(
    client: Client, registry: FolderRegistry
) -> None:
    shapes: list[Shape] = [["n", "a"], ["n", "b"], ["n", "c"]]
    a, b, c = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip("abc", shapes, strict=True)
    )
    model = model_of([helper.make_node("Add", ["a", "b"], ["c"])], [a, b], [c])
    path = served(client, registry, model.SerializeToString())
    body = {"inputs": [tensor("a", "FP32", [1, 2, 3], [1, 3]), tensor("b", "FP32", [1, 2], [1, 2])]}
    assert 'model "other" can\'t score these inputs' in error(client, body, path=path)


def test_inputs_that_share_a_symbol_need_the_same_size_there(client: Client, registry: FolderRegistry) -> None:
    a, b, c = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "width"]) for name in "abc")
    model = model_of([helper.make_node("Add", ["a", "b"], ["c"])], [a, b], [c])
    path = served(client, registry, model.SerializeToString())
    body = {"inputs": [tensor("a", "FP32", [1, 2], [1, 2]), tensor("b", "FP32", [1], [1, 1])]}
    assert 'input "b" has 1 elements in dimension 1 and input "a" has 2' in error(client, body, path=path)


@pytest.mark.parametrize("path", ["/v2/models/hous", "/v2/models/hous/ready", "/v2/models/hous/versions/1/ready"])
def test_an_unknown_model_is_404_with_the_near_name(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "no model \"hous\" is loaded: did you mean 'house'?"},
    )


def test_an_unknown_version_is_404_with_the_one_that_answers(client: Client) -> None:
    for path in ("/v2/models/house/versions/2", "/v2/models/house/versions/2/ready"):
        assert client.get(path).status_code == 404
    sentence = error(client, rows([1], ["Rome"]), 404, "/v2/models/house/versions/2/infer")
    assert sentence == 'model "house" answers in version 1, not "2"'


def test_an_unknown_path_or_method_has_a_reason_too(client: Client) -> None:
    assert client.get("/v1/models").json() == {"error": '"GET /v1/models" is not in the v2 protocol: Not Found'}
    answer = client.get(INFER)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_there_is_no_docs_page(client: Client) -> None:
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


def test_a_model_of_the_house_format_is_served(client: Client, registry: FolderRegistry) -> None:
    registry.add("house2", "1", house(3))
    client.post("/v2/repository/models/house2/load")
    (price,) = client.post(
        "/v2/models/house2/infer", json={**rows([5], ["Rome"]), "outputs": [{"name": "price"}]}
    ).json()["outputs"]
    assert price["data"] == [15.0]
