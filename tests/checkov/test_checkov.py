"""What Checkov says of prod's plan, and of a copy with settings that were spoiled on purpose."""

import copy
import dataclasses
import json
import subprocess
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from infra.policy import CONTROLS
from infra.settings import stacks, waivers
from infra.settings.waivers import CHECKOV
from modelyard.plan.graph import Graph
from modelyard.plan.plan import graph_of
from modelyard.plan.terraform import names, terraform_plan

pytestmark = pytest.mark.timeout(600)  # the first time Checkov is installed

PROJECT = Path(__file__).parents[2]
ANYTHING = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
SPOILED: dict[str, tuple[str, str, dict[str, object]]] = {
    "an API server that is open to everybody": (
        "CKV_AWS_38",
        "aws:eks/cluster:Cluster",
        {"vpcConfig/endpointPublicAccess": True, "vpcConfig/publicAccessCidrs": ["0.0.0.0/0"]},
    ),
    "a cluster with a public endpoint": (
        "CKV_AWS_39",
        "aws:eks/cluster:Cluster",
        {"vpcConfig/endpointPublicAccess": True},
    ),
    "Kubernetes secrets without a key": ("CKV_AWS_58", "aws:eks/cluster:Cluster", {"encryptionConfig": None}),
    "a control plane without an audit log": (
        "CKV_AWS_37",
        "aws:eks/cluster:Cluster",
        {"enabledClusterLogTypes": ["api"]},
    ),
    "metadata without a session token": (
        "CKV_AWS_79",
        "aws:ec2/launchTemplate:LaunchTemplate",
        {"metadataOptions/httpTokens": "optional"},
    ),
    "a bucket that may be made public": (
        "CKV_AWS_53",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        {"blockPublicAcls": False},
    ),
    "a bucket without versions": (
        "CKV_AWS_21",
        "aws:s3/bucketVersioning:BucketVersioning",
        {"versioningConfiguration/status": "Suspended"},
    ),
    "images that can be replaced": (
        "CKV_AWS_51",
        "aws:ecr/repository:Repository",
        {"imageTagMutability": "MUTABLE"},
    ),
    "a database that isn't encrypted": ("CKV_AWS_16", "aws:rds/instance:Instance", {"storageEncrypted": False}),
    "a database with a public address": ("CKV_AWS_17", "aws:rds/instance:Instance", {"publiclyAccessible": True}),
    "a role that may do everything": ("CKV_AWS_62", "aws:iam/rolePolicy:RolePolicy", {"policy": ANYTHING}),
    "a key that never rotates": ("CKV_AWS_7", "aws:kms/key:Key", {"enableKeyRotation": False}),
    "logs without a key": ("CKV_AWS_158", "aws:cloudwatch/logGroup:LogGroup", {"kmsKeyId": None}),
}
"""The check that has to fail, and what is done to the first resource of a type."""


@pytest.fixture(scope="module")
def graph():
    return graph_of(PROJECT, stacks.load(PROJECT / "stacks", "prod"))


@pytest.fixture(scope="module")
def report(checkov, graph, tmp_path_factory):
    """One run over both plans: what failed by plan, and how many resources Checkov saw."""
    folder = tmp_path_factory.mktemp("plans")
    for name, one in (("prod", graph), ("spoiled", spoiled(graph))):
        (folder / f"{name}.json").write_text(json.dumps(terraform_plan(one)), encoding="utf-8")
    options = ["--framework", "terraform_plan", "--output", "json", "--skip-download", "--compact", "--quiet"]
    command = [checkov, "-m", "checkov.main", "--directory", folder, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def failed(report, plan):
    return [
        (check["check_id"], check["resource"])
        for check in report["results"]["failed_checks"]
        if check["file_path"] == f"/{plan}.json"
    ]


def spoiled(graph):
    resources = list(graph.resources)
    for _, kind, changes in SPOILED.values():
        index = next(index for index, one in enumerate(resources) if one.type == kind)
        inputs = copy.deepcopy(resources[index].inputs)
        for path, value in changes.items():
            *way, last = path.split("/")
            at = inputs
            for key in way:
                at = at[key]
            at[last] = value
        kept = {key: value for key, value in inputs.items() if value is not None}
        resources[index] = dataclasses.replace(resources[index], inputs=kept)
    return Graph(graph.stack, tuple(resources), graph.outputs)


def urns(graph):
    """URNs by Terraform's address: the export keeps the order."""
    exported = [one.urn for one in graph.resources if one.type in names()]
    addresses = (one["address"] for one in terraform_plan(graph)["resource_changes"])
    return dict(zip(addresses, exported, strict=True))


def test_every_cloud_resource_has_a_terraform_name(graph):
    assert terraform_plan(graph)["unmapped"] == []


def test_checkov_sees_every_resource(report, graph):
    summary = report["summary"]
    assert summary["resource_count"] == 2 * len(terraform_plan(graph)["resource_changes"])
    assert summary["parsing_errors"] == 0
    assert summary["passed"] > 1000, "it saw them and judged none"


def test_no_check_fails_that_no_waiver_covers(report, graph):
    granted = waivers.load(PROJECT / "stacks", [control.name for control in CONTROLS])
    found = urns(graph)
    today = date.today()  # noqa: DTZ011 from the day that a waiver expires its finding counts
    uncovered = [
        f"{check} {address}" + (f": {waiver.lapsed}" if waiver else "")
        for check, address in failed(report, "prod")
        if not (waiver := granted.covering(check, found[address])) or waiver.expired(today)
    ]
    assert not uncovered


def test_every_waiver_of_a_check_is_needed(report, graph):
    granted = waivers.load(PROJECT / "stacks", [control.name for control in CONTROLS]).granted
    found = urns(graph)
    used = Counter(
        waiver
        for check, address in failed(report, "prod")
        for waiver in granted
        if waiver.covers(check, found[address])
    )
    assert not [waiver for waiver in granted if CHECKOV.fullmatch(waiver.policy) and not used[waiver]]


@pytest.mark.parametrize("what", SPOILED)
def test_checkov_finds_what_was_spoiled(report, what):
    check = SPOILED[what][0]
    more = Counter(failed(report, "spoiled")) - Counter(failed(report, "prod"))
    assert check in {one for one, _ in more}, f"{what}: {check} passes"
