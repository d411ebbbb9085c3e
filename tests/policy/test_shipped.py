"""The shipped stacks satisfy every control, and would not if what they are made of were different."""

import dataclasses
import functools

import pytest

from infra.policy import CONTROLS
from infra.settings import stacks, waivers
from modelyard.plan.findings import UNUSED, findings
from modelyard.plan.graph import Graph
from modelyard.plan.plan import graph_of
from tests.policy.cases import document
from tests.policy.conftest import STACKS, TODAY

SHIPPED = stacks.names(STACKS)
BROKEN = {
    "database-private": ("aws:rds/instance:Instance", {"publiclyAccessible": True}),
    "gpu-nodes-tainted": ("aws:eks/nodeGroup:NodeGroup", {"instanceTypes": ["g5.xlarge"]}),
    "iam-no-wildcards": ("aws:iam/rolePolicy:RolePolicy", {"policy": document(Action="*", Resource="*")}),
    "iam-writes-named": ("aws:iam/rolePolicy:RolePolicy", {"policy": document(Action="s3:PutObject", Resource="*")}),
    "no-open-ingress": ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["0.0.0.0/0"]}]}),
    "no-public-principals": ("aws:s3/bucketPolicy:BucketPolicy", {"policy": document(Principal="*", Action="s3:*")}),
    "node-role-minimal": (
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
    ),
    "nodes-private-subnets": ("aws:ec2/subnet:Subnet", {"mapPublicIpOnLaunch": True}),
}
"""Controls that forbid something: what is put into all resources of a type."""
FORBIDS_TYPES = {"no-access-keys"}


@pytest.fixture(scope="module")
def graphs():
    made: dict[str, Graph] = {}

    def graph(name):
        if name not in made:
            made[name] = graph_of(STACKS.parent, stack(name))
        return made[name]

    return graph


@functools.cache
def stack(name):
    return stacks.load(STACKS, name)


@functools.cache
def granted():
    return waivers.load(STACKS, [control.name for control in CONTROLS])


def judged(graph, name):
    return findings(graph, stack(name), granted(), TODAY)


def changed(graph, change):
    return Graph(graph.stack, tuple(made for one in graph.resources if (made := change(one))), graph.outputs)


def without(kind):
    return lambda one: None if one.type == kind else one


def emptied(kind):
    return lambda one: dataclasses.replace(one, inputs={}, protect=False) if one.type == kind else one


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_found_in_a_shipped_stack_that_is_not_waived(graphs, name):
    found = [finding for finding in judged(graphs(name), name) if not finding.waived]
    assert not [f"{finding.policy}: {finding.urn}: {finding.message}" for finding in found]


def test_of_an_existing_network_it_is_told_that_nobody_has_looked_at_it():
    dev = stacks.load(STACKS, "dev")
    config = dev.document.data["config"]
    ids = {"vpc": "vpc-0a1b2c3d", "private_subnets": ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]}
    config["modelyard:environment"] = {**config["modelyard:environment"], "network": ids}
    (told,) = [one for one in judged(graph_of(STACKS.parent, dev), "dev") if not one.waived and one.policy != UNUSED]
    assert (told.policy, told.setting) == ("network-checked", "network")


@pytest.fixture(scope="module")
def noticed(graphs):
    """For each control, the types of which one alone has lost its inputs, or is gone, when it finds something."""
    seen: dict[str, set[str]] = {}
    for name in ("prod", "account.main"):
        graph = graphs(name)
        for kind in sorted({one.type for one in graph.resources if one.custom}):
            for change in (emptied(kind), without(kind)):
                for finding in judged(changed(graph, change), name):
                    seen.setdefault(finding.policy, set()).add(kind)
    return seen


ASKS = [control for control in CONTROLS if control.name not in BROKEN.keys() | FORBIDS_TYPES]


@pytest.mark.parametrize("control", ASKS, ids=lambda control: control.name)
def test_each_control_would_notice_what_is_missing_in_one_type_of_a_shipped_stack(noticed, graphs, control):
    there = {one.type for name in ("prod", "account.main") for one in graphs(name).resources}
    missed = set(control.types) & there - noticed.get(control.name, set())
    assert control.name in noticed, "it looks for something that the shipped stacks don't have"
    assert not missed, "it says that it is about these, and doesn't look at them"


@pytest.mark.parametrize("name", BROKEN)
def test_each_control_would_notice_what_it_forbids_in_a_shipped_stack(graphs, name):
    kind, inputs = BROKEN[name]

    def broken(one):
        return dataclasses.replace(one, inputs=one.inputs | inputs) if one.type == kind else one

    assert name in {finding.policy for finding in judged(changed(graphs("prod"), broken), "prod")}
