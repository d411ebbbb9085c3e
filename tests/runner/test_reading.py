"""What a package must be, and how conditions and placeholders are worked out."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelyard.runner import ir
from modelyard.runner.conditions import ConditionError, holds, select
from modelyard.runner.ir import PackageError
from modelyard.runner.placeholders import Names, fill_command, fill_constant

NAMES = Names(*(f"<{name}>" for name in Names.__dataclass_fields__))


def package(**changes):
    """A package of two tasks, `b` after `a`."""
    document = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "two"},
        "deploymentSpec": {"executors": {"exec-x": {"container": {"image": "i", "command": ["true"]}}}},
        "components": {"comp-x": {"executorLabel": "exec-x"}},
        "root": {"dag": {"tasks": {"a": task(), "b": task("a")}}},
    }
    return document | changes


def task(*after, component="comp-x"):
    return {"taskInfo": {"name": "t"}, "componentRef": {"name": component}, "dependentTasks": list(after)}


def root(**tasks):
    return {"dag": {"tasks": tasks}}


def test_a_package_is_read_and_its_tasks_are_in_order():
    read = ir.read_text(yaml.safe_dump(package()), "two.yaml")
    assert read.name == "two"
    assert ir.in_order(read.spec.root.dag) == ["a", "b"]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}, "not a compiled KFP v2 pipeline"),
        (package(schemaVersion="1.0"), "no schemaVersion 2.1"),
        (package(surprise=1), "not a compiled KFP v2 pipeline: .*surprise"),
        (package(root=root()), "no tasks under root.dag"),
        (package(root=root(a=task(component="comp-y"))), "task 'a' refers to component 'comp-y', which is not there"),
        (package(root=root(a=task("z"))), "task 'a' waits for 'z', which is not in its DAG"),
        (package(root=root(a=task("b"), b=task("a"))), "'root': tasks wait for each other: "),
        (package(components={"comp-x": {"executorLabel": "exec-y"}}), "component 'comp-x' has no executor 'exec-y'"),
        (package(components={"comp-x": root(a=task())}), "components contain each other: comp-x -> comp-x"),
    ],
)
def test_a_package_that_can_not_run_is_refused_with_the_reason(document, sentence):
    with pytest.raises(PackageError, match=sentence):
        ir.read_package(document)


def test_what_only_a_cluster_has_is_refused_and_placement_is_not():
    def platform(**settings):
        spec = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-x": settings}}}}}
        return {"pipeline_spec": package(), "platform_spec": spec}

    ir.read_package(platform(nodeSelector={"labels": {"gpu": "a10g"}}, tolerations=[{"key": "gpu"}]))
    with pytest.raises(PackageError, match=r"exec-x wants a secret as an environment variable \(secretAsEnv\)"):
        ir.read_package(platform(secretAsEnv=[{"secretName": "s"}]))


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(PackageError, match="can't be read"):
        ir.read_file(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("inputs.parameter_values['kind'] == 'heads'", True),
        ("!(inputs.parameter_values['kind'] == 'heads') && int(inputs.parameter_values['n']) > 3", False),
        ("int(inputs.parameter_values['n']) > 3", True),
        ("inputs.parameter_values['share'] >= 0.5", True),
        ("inputs.parameter_values['flag'] == true", True),
        ("inputs.parameter_values['items'] == [1, 'a']", True),
    ],
)
def test_conditions_are_cel(condition, expected):
    values: dict[str, ir.Value] = {"kind": "heads", "n": 5, "share": 0.5, "flag": True, "items": [1, "a"]}
    assert holds(condition, values) is expected


@given(st.text())
def test_no_text_makes_a_comparison_with_another_text_true(text):
    assert holds("inputs.parameter_values['x'] == 'accept'", {"x": text}) is (text == "accept")


@pytest.mark.parametrize("condition", ["inputs.parameter_values['gone'] == 1", "1 +", "'text'", "__import__('os')"])
def test_a_condition_that_can_not_be_decided_is_an_error_and_not_false(condition):
    with pytest.raises(ConditionError, match="can't be decided|true or false is wanted"):
        holds(condition, {"x": 1})


def test_a_selector_takes_a_part_of_a_value():
    assert select('parseJson(string_value)["a"]["b"]', {"a": {"b": [1]}}) == [1]
    with pytest.raises(ConditionError):
        select('parseJson(string_value)["z"]', {"a": 1})


@given(st.text())
def test_a_filled_in_value_is_never_read_as_a_placeholder_again(text):
    filled = fill_constant("<{{$.inputs.parameters['x']}}>", {"x": text}, NAMES)
    assert filled == f"<{text}>"


def test_placeholders_in_lists_and_mappings_are_filled():
    constant: ir.Value = {"a": ["{{$.pipeline_job_uuid}}", 1], "b": "{{$.inputs.parameters['x']}}"}
    assert fill_constant(constant, {"x": {"k": 1}}, NAMES) == {"a": ["<pipeline_job_uuid>", 1], "b": '{"k": 1}'}


@pytest.mark.parametrize("placeholder", ["{{$.inputs.parameters['y']}}", "{{$.colour}}", "{{$.json_escape[1]}}"])
def test_an_unknown_placeholder_is_refused(placeholder):
    with pytest.raises(PackageError):
        fill_constant(placeholder, {"x": 1}, NAMES)


def test_a_command_knows_its_inputs_and_outputs():
    executor_input = {
        "inputs": {
            "parameterValues": {"n": 3},
            "artifacts": {"d": {"artifacts": [{"uri": "/d", "metadata": {"k": 1}}]}},
        },
        "outputs": {"parameters": {"o": {"outputFile": "/o"}}, "artifacts": {}, "outputFile": "/e"},
    }
    words = [
        "{{$.inputs.parameters['n']}}",
        "{{$.inputs.artifacts['d'].path}}",
        "{{$.inputs.artifacts['d'].metadata['k']}}",
        "{{$.outputs.parameters['o'].output_file}}",
        '{"IfPresent": {"InputName": "z", "Then": ["--z"], "Else": ["--no-z"]}}',
        '{"Concat": ["a", "{{$.inputs.parameters[\'n\']}}"]}',
    ]
    assert fill_command(words, executor_input, NAMES) == ["3", "/d", "1", "/o", "--no-z", "a3"]
