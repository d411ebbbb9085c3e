"""Loading, swapping and unloading, over HTTP in this process."""

from typing import Any

import pytest
from onnx import TensorProto, helper
from prometheus_client.parser import text_string_to_metric_families

from modelyard.serving.models import Models
from tests.serving.conftest import Client
from tests.serving.folder_registry import FolderRegistry
from tests.serving.graphs import house, model_of, one_to_one, rows

LOAD = "/v2/repository/models/house/load"


def factor(client: Client) -> float:
    """What tells the versions of `house` apart, taken from an answer."""
    outputs = client.post("/v2/models/house/infer", json=rows([1], ["Rome"])).json()["outputs"]
    return float(outputs[1]["data"][0])


def load(client: Client, version: str | None = None, name: str = "house") -> tuple[int, Any]:
    parameters = {} if version is None else {"parameters": {"version": version}}
    answer = client.post(f"/v2/repository/models/{name}/load", json=parameters)
    return answer.status_code, answer.json()


def samples(client: Client, name: str) -> dict[str, float]:
    """What /metrics has under a name, by the values of its labels in the order of their names."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = (sample for family in families for sample in family.samples if sample.name == name)
    return {" ".join(sample.labels[label] for label in sorted(sample.labels)): sample.value for sample in found}


def test_the_champion_is_loaded_unless_a_version_is_named(client: Client, registry: FolderRegistry) -> None:
    registry.add("house", "2", house(2), champion=False)
    assert (load(client, "2")[1]["version"], factor(client)) == ("2", 2.0)
    assert (load(client)[1]["version"], factor(client)) == ("1", 1.0)


def test_load_takes_an_empty_body(client: Client, registry: FolderRegistry) -> None:
    registry.add("house", "2", house(2))
    assert client.post(LOAD).json()["version"] == "2"


def test_a_version_that_was_named_is_kept_until_the_next_load(client: Client, registry: FolderRegistry) -> None:
    registry.add("house", "2", house(2), champion=False)
    load(client, "2")
    assert (factor(client), factor(client)) == (2.0, 2.0)


def test_a_file_that_was_changed_is_refused_and_the_old_version_goes_on(
    client: Client, registry: FolderRegistry
) -> None:
    registry.add("house", "2", house(2)).write_bytes(house(3))
    status, answer = load(client)
    assert status == 400
    assert answer["error"].startswith('model "house": the champion was not loaded: its file has digest sha256:')
    assert answer["error"].endswith("(version 1 goes on answering)")
    assert factor(client) == 1.0
    assert samples(client, "modelyard_model_load_failures_total") == {"house": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "its file is not an ONNX model that can run here"),
        (b"garbage", "its file is not an ONNX model that can run here"),
        (house()[:-40], "its file is not an ONNX model that can run here"),
        (one_to_one("Identity", TensorProto.BFLOAT16, [None]), "'x' is tensor(bfloat16), for which the v2 protocol"),
    ],
)
def test_a_file_that_is_no_model_for_v2_is_refused_and_the_old_version_goes_on(
    client: Client, registry: FolderRegistry, content: bytes, reason: str
) -> None:
    registry.add("house", "2", content)
    status, answer = load(client)
    assert (status, reason in answer["error"], factor(client)) == (400, True, 1.0), answer


def test_a_model_that_fails_its_first_inference_is_refused(client: Client, registry: FolderRegistry) -> None:
    a, b, c = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [size])
        for name, size in (("a", None), ("b", None), ("c", 3))
    )
    reshape = [
        helper.make_node("Concat", ["a", "b"], ["both"], axis=0),
        helper.make_node("Constant", [], ["three"], value_ints=[3]),
        helper.make_node("Reshape", ["both", "three"], ["c"]),
    ]
    registry.add("house", "2", model_of(reshape, [a, b], [c]).SerializeToString())
    status, answer = load(client)
    assert (status, "it can't score a row of zeros and empty strings" in answer["error"]) == (400, True), answer


def test_an_unknown_model_or_version_is_404_and_the_old_version_goes_on(client: Client) -> None:
    assert load(client, name="hous") == (
        404,
        {"error": "the registry has no model \"hous\": did you mean 'house'?"},
    )
    status, answer = load(client, "7")
    assert (status, "model 'house' has no version '7'" in answer["error"]) == (404, True)
    assert factor(client) == 1.0


def test_a_model_without_a_champion_is_loaded_only_by_version(client: Client, registry: FolderRegistry) -> None:
    registry.add("flat", "1", house(), champion=False)
    status, answer = load(client, name="flat")
    assert (status, "it has no champion; promote a version" in answer["error"]) == (400, True)
    assert load(client, "1", name="flat")[0] == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "the body is not JSON"),
        ('{"parameters": {"vesion": "1"}}', "parameters.vesion: "),
        ('{"parameters": {"a\\nb": "1"}}', 'parameters["a\\nb"]: '),
        ('{"parameters": {"version": 1}}', "parameters.version: "),
        ('{"parameters": []}', "parameters: "),
    ],
)
def test_a_load_that_is_misspelled_does_not_load_the_champion_instead(client: Client, body: str, reason: str) -> None:
    answer = client.post(LOAD, content=body)
    assert (answer.status_code, reason in answer.json()["error"]) == (400, True), answer.text


def test_an_unloaded_model_does_not_answer_until_it_is_loaded_again(client: Client) -> None:
    unload = "/v2/repository/models/house/unload"
    assert client.post(unload).status_code == 200
    assert client.post("/v2/models/house/infer", json=rows([1], ["Rome"])).status_code == 404
    assert client.post(unload).status_code == 404
    assert load(client)[0] == 200
    assert factor(client) == 1.0


def test_the_index_tells_the_state_of_every_model_and_why(client: Client, registry: FolderRegistry) -> None:
    registry.add("flat", "1", house(), champion=False)
    registry.add("barn", "1", b"garbage")
    load(client, name="barn")
    registry.add("loft", "1", house())
    barn, flat, ready, loft = client.post("/v2/repository/index").json()
    assert (barn["name"], barn["state"]) == ("barn", "UNAVAILABLE")
    asked = client.post("/v2/models/barn/infer", json=rows([1], ["Rome"]))
    assert (asked.status_code, asked.json()["error"]) == (404, f'no model "barn" is loaded: {barn["reason"]}')
    assert "not an ONNX model" in barn["reason"]
    assert flat == {"name": "flat", "version": "", "state": "UNAVAILABLE", "reason": "it has no champion"}
    assert ready == {"name": "house", "version": "1", "state": "READY", "reason": ""}
    assert (loft["state"], loft["reason"]) == ("UNAVAILABLE", "its champion is not loaded; load it")
    assert client.post("/v2/repository/index", json={"ready": True}).json() == [ready]


def test_a_champion_that_can_not_be_loaded_does_not_keep_the_others_from_opening(registry: FolderRegistry) -> None:
    registry.add("barn", "1", b"garbage")
    (registry.folder / "attic").mkdir()
    (registry.folder / "attic" / "champion").write_text("9")
    models = Models(lambda: registry)
    client = Client(models)
    assert client.get("/v2/health/ready").status_code == 503
    client.run(models.open())
    assert client.get("/v2/health/ready").status_code == 200
    assert factor(client) == 1.0
    attic, barn, _ = client.post("/v2/repository/index").json()
    assert "has no version '9'" in attic["reason"]
    assert "not an ONNX model" in barn["reason"]
    client.close()
    models.close()


def test_a_registry_that_goes_away_is_told_and_what_is_loaded_goes_on(client: Client, registry: FolderRegistry) -> None:
    registry.folder.rename(registry.folder.with_name("gone"))
    status, answer = load(client)
    assert (status, "the champion was not loaded: [Errno 2]" in answer["error"]) == (400, True), answer
    assert "the registry can't be read" in client.post("/v2/repository/index").json()["error"]
    assert factor(client) == 1.0


def test_metrics_count_by_model_outcome_and_version(client: Client) -> None:
    client.post("/v2/models/house/infer", json=rows([1, 2, 3], ["a", "b", "c"]))
    for model in ("house", "nobody", "nothing"):
        client.post(f"/v2/models/{model}/infer", content="{")
    requests = samples(client, "modelyard_inference_requests_total")
    assert requests == {"house ok 1": 1, "house refused 1": 1, " refused ": 2}, "a made-up name must not get a series"
    assert samples(client, "modelyard_rows_scored_total") == {"house 1": 3}
    assert samples(client, "modelyard_inference_seconds_count") == {"house 1": 1}


def test_metrics_tell_the_loaded_version_and_forget_the_one_before(client: Client, registry: FolderRegistry) -> None:
    digest = registry.get("house", "1").digest
    assert samples(client, "modelyard_model_info") == {f"{digest} house 1": 1}
    registry.add("house", "2", house(2))
    load(client)
    digest = registry.get("house", "2").digest
    assert samples(client, "modelyard_model_info") == {f"{digest} house 2": 1}
