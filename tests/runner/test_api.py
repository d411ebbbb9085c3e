"""KFP's own client against the runner, and what the API refuses."""

import json
from datetime import datetime, timedelta, timezone

import httpx
import pytest
import yaml
from kfp import compiler, dsl
from kfp_server_api import ApiException

from components.step import step


@step
def add(number: int) -> int:
    return number + 1


@dsl.pipeline(name="sums")
def sums(first: int, second: int, third: int = 0):
    add(number=first)


@dsl.pipeline(name="adding")
def adding(number: int, share: float = 0.5, note: str = "", flag: bool = False, items: list = [], more: dict = {}):  # noqa: B006
    add(number=number)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "adding.yaml"
    compiler.Compiler().compile(adding, str(path))
    return str(path)


@pytest.fixture
def api(runner):
    with httpx.Client(base_url=f"{runner.url}/apis/v2beta1") as client:
        yield client


def refusal(call, *args, **kwargs) -> tuple[int, str]:
    with pytest.raises(ApiException) as refused:
        call(*args, **kwargs)
    return refused.value.status, json.loads(refused.value.body)["message"]


def one_predicate(operation: str | int, key: str = "name", **value) -> str:
    return json.dumps({"predicates": [{"operation": operation, "key": key, **value}]})


def test_an_uploaded_pipeline_runs_by_its_version(runner, package, capsys):
    client = runner.client
    pipeline = client.upload_pipeline(package, pipeline_name="uploaded", description="adds")
    version = client.upload_pipeline_version(package, "second", pipeline_name="uploaded")
    listed = client.list_pipeline_versions(pipeline.pipeline_id, sort_by="created_at").pipeline_versions
    assert [one.display_name for one in listed] == ["uploaded", "second"]
    assert client.get_pipeline_id("uploaded") == pipeline.pipeline_id

    experiment = client.create_experiment("uploads")
    started = client.run_pipeline(
        experiment.experiment_id,
        "by version",
        params={"number": 1},
        pipeline_id=pipeline.pipeline_id,
        version_id=version.pipeline_version_id,
    )
    run = runner.finished(started.run_id)
    assert (run.state, run.experiment_id) == ("SUCCEEDED", experiment.experiment_id)
    assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id


def test_waiting_by_kfps_own_client_gives_the_ended_run(runner):
    run = runner.client.wait_for_run_completion(runner.submit(adding, number=1), timeout=60, sleep_duration=0.05)
    assert run.state == "SUCCEEDED"
    assert [status.state for status in run.state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_a_name_is_taken_once(runner, package):
    runner.client.upload_pipeline(package, pipeline_name="taken")
    status, message = refusal(runner.client.upload_pipeline, package, pipeline_name="taken")
    assert (status, message) == (409, "pipeline 'taken' is there already")


def test_an_experiment_is_made_once_found_by_name_and_not_deleted_with_runs(runner):
    client = runner.client
    made = client.create_experiment("trials")
    assert client.create_experiment("trials").experiment_id == made.experiment_id
    assert client.get_experiment(experiment_name="trials").experiment_id == made.experiment_id
    client.archive_experiment(made.experiment_id)
    assert client.get_experiment(made.experiment_id).storage_state == "ARCHIVED"
    client.delete_experiment(made.experiment_id)
    status, message = refusal(client.get_experiment, made.experiment_id)
    assert (status, message) == (404, f"experiment {made.experiment_id!r} is not there")

    run = runner.run(adding, number=1)
    status, message = refusal(client.delete_experiment, run.experiment_id)
    assert status == 409
    assert "has runs" in message


def test_runs_are_listed_in_pages_newest_first_and_filtered(runner):
    client = runner.client
    mine = client.create_experiment("pages").experiment_id
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        started = client.run_pipeline(
            mine, name, pipeline_package_path=str(runner.packages / "adding.yaml"), params={"number": 1}
        )
        runner.finished(started.run_id)
    first = client.list_runs(experiment_id=mine, page_size=3)
    second = client.list_runs(experiment_id=mine, page_size=3, page_token=first.next_page_token)
    assert [run.display_name for run in [*first.runs, *second.runs]] == names[::-1]
    assert (first.total_size, second.next_page_token) == (5, "")
    wanted = {"predicates": [{"key": "display_name", "operation": "IS_SUBSTRING", "string_value": "ge-3"}]}
    assert [run.display_name for run in client.list_runs(filter=json.dumps(wanted)).runs] == ["page-3"]


def test_a_filters_operation_may_be_its_number_and_its_moment_in_any_zone(api):
    made = api.post("/experiments", json={"display_name": "filtered by number"}).json()
    earlier = datetime.now(timezone(timedelta(hours=3))) - timedelta(minutes=5)
    for predicate in (
        one_predicate(9, string_value="by numb"),
        one_predicate(8, string_values={"values": ["filtered by number"]}),
        one_predicate(3, "created_at", timestamp_value=earlier.isoformat()),
    ):
        found = api.get("/experiments", params={"filter": predicate, "page_size": 1000}).json()["experiments"]
        assert made["experiment_id"] in [one["experiment_id"] for one in found], predicate


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"filter": "no json"}, "filter is not a JSON filter"),
        ({"filter": '{"predicates": [{"key": "colour", "operation": "EQUALS", "string_value": "x"}]}'}, "'colour'"),
        ({"sort_by": "colour desc"}, "sort_by 'colour desc' is not understood"),
        ({"page_token": "x"}, "page_token 'x' is not one of this server's"),
        ({"page_token": "-1"}, "page_token '-1' is not one of this server's"),
        ({"page_token": "9" * 20}, "is not one of this server's"),
        ({"filter": one_predicate(4, string_value="x")}, "operation '4' is not understood"),
        ({"filter": one_predicate("IN", string_value="x")}, "'x' is not what operation 'IN' compares 'name' with"),
        ({"filter": one_predicate(1, string_values={"values": ["x"]})}, "is not what operation 'EQUALS' compares"),
        ({"filter": one_predicate(1, int_value=5)}, "5 is not what operation 'EQUALS' compares 'name' with"),
        ({"filter": one_predicate(3, "created_at", int_value=5)}, "5 is no timestamp"),
        ({"page_size": "-1"}, "page_size"),
    ],
)
def test_a_list_call_that_is_not_understood_says_so(api, query, sentence):
    answer = api.get("/runs", params=query)
    assert answer.status_code == 400
    assert sentence in answer.json()["message"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"nmber": 1}, "pipeline 'adding' has no parameter 'nmber': did you mean 'number'?"),
        ({}, "pipeline 'adding' needs a value for 'number'"),
        ({"number": "one"}, "parameter 'number' is 'one'; a whole number is wanted"),
        ({"number": 1.5}, "parameter 'number' is 1.5; a whole number is wanted"),
        ({"number": True}, "parameter 'number' is True; a whole number is wanted"),
        ({"number": 1, "share": "half"}, "parameter 'share' is 'half'; a number is wanted"),
        ({"number": 1, "note": 5}, "parameter 'note' is 5; a text is wanted"),
        ({"number": 1, "flag": "yes"}, "parameter 'flag' is 'yes'; true or false is wanted"),
        ({"number": 1, "items": {}}, "parameter 'items' is {}; a list is wanted"),
        ({"number": 1, "more": []}, "parameter 'more' is []; a mapping is wanted"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(runner, arguments, sentence):
    before = runner.client.list_runs().total_size
    status, message = refusal(runner.submit, adding, **arguments)
    assert (status, message) == (400, sentence)
    assert runner.client.list_runs().total_size == before


def test_all_parameters_that_are_missing_are_named_at_once(runner):
    assert refusal(runner.submit, sums)[1] == "pipeline 'sums' needs a value for 'first', 'second'"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"no json", "JSON decode error"),
        (b"[]", "body: "),
        (b"{}", "a run needs pipeline_spec, or pipeline_version_reference"),
        (b'{"pipeline_spec": {"a": 1}}', "not a compiled KFP v2 pipeline"),
        (b'{"pipeline_spec": {}, "runtime_config": {"pipeline_root": "s3://x"}}', "pipeline_root can't be chosen"),
        (b'{"pipeline_spec": {}, "runtime_config": []}', "body.runtime_config: "),
        (b'{"pipeline_spec": {}, "runtime_config": {"parameters": [1]}}', "body.runtime_config.parameters: "),
        (b'{"pipeline_version_reference": "x"}', "body.pipeline_version_reference: "),
    ],
)
def test_a_run_that_can_not_be_read_is_a_sentence(api, body, sentence):
    answer = api.post("/runs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert sentence in answer.json()["message"]


def test_a_number_that_json_does_not_have_is_refused(api, package):
    with open(package) as file:
        body = {"pipeline_spec": yaml.safe_load(file), "runtime_config": {"parameters": {"items": [float("nan")]}}}
    answer = api.post("/runs", content=json.dumps(body), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "parameter 'items' is [nan]; JSON has no such number",
    )


def test_a_package_that_breaks_the_runner_ends_its_run(runner, package):
    with open(package) as file:
        document = yaml.safe_load(file)
    output = {"valueFromParameter": {"producerSubtask": "nobody", "outputParameterKey": "Output"}}
    document["root"]["dag"]["outputs"] = {"parameters": {"Output": output}}
    body = {"pipeline_spec": document, "runtime_config": {"parameters": {"number": 1}}}
    started = httpx.post(f"{runner.url}/apis/v2beta1/runs", json=body).json()
    run = runner.client.wait_for_run_completion(started["run_id"], timeout=60, sleep_duration=0.05)
    assert (run.state, run.error.message) == ("FAILED", "the runner failed: KeyError: 'nobody'")


def test_what_is_not_there_is_404(api):
    for path in ("/runs/x", "/experiments/x", "/pipelines/x", "/pipelines/names/x", "/artifacts/x", "/nothing"):
        assert api.get(path).status_code == 404, path
    assert api.post("/runs/x:terminate").status_code == 404
    assert api.delete("/runs/x").status_code == 404


def test_an_upload_that_is_no_pipeline_is_refused(api):
    for content in (b"\xff\xfe", b"- a", b"a: [", b""):
        answer = api.post("/pipelines/upload", files={"uploadfile": ("bad.yaml", content)})
        assert answer.status_code == 400, content
        assert "bad.yaml" in answer.json()["message"]


def test_a_foreign_web_page_can_not_have_steps_executed(api):
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        answer = api.get("/healthz", headers=headers)
        assert answer.status_code in (400, 403), headers
    for origin in ("http://127.0.0.1:9", "http://[::1", "null"):
        assert api.get("/healthz", headers={"origin": origin}).status_code == 403, origin
    assert api.get("/healthz", headers={"origin": str(api.base_url.copy_with(path="/"))[:-1]}).status_code == 200


def test_an_image_that_needs_a_container_is_refused_when_submitted(runner):
    @dsl.container_component
    def shell():
        return dsl.ContainerSpec(image="alpine", command=["true"])

    @dsl.pipeline
    def containers():
        shell()

    status, message = refusal(runner.submit, containers)
    assert status == 400
    assert message.startswith("exec-shell: image 'alpine' needs a container; the local runner runs")
