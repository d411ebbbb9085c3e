"""Importing by need, in processes of their own."""

import json
import subprocess
import sys

import pytest

NAMES = """
import json, sys, warnings
warnings.simplefilter("ignore")
if sys.argv[1] == "by-need":
    from modelyard.plan.imports import by_need
    by_need()
import pulumi_aws as aws
service = getattr(aws, sys.argv[2])
everything = {}
if not json.loads(sys.argv[3]):
    exec(f"from pulumi_aws.{sys.argv[2]} import *", everything)
    del everything["__builtins__"]
found = everything or {name: getattr(service, name) for name in json.loads(sys.argv[3])}
places = {name: [getattr(one, "__module__", ""), getattr(one, "__qualname__", "")] for name, one in found.items()}
print(json.dumps(places))
"""
GRAPH = """
import json, sys, warnings
from dataclasses import asdict
warnings.simplefilter("ignore")
if sys.argv[1] == "by-need":
    from modelyard.plan.imports import by_need
    by_need()
import pulumi
import pulumi_aws as aws
from modelyard.plan.graph import record
def program():
    bucket = aws.s3.Bucket("data")
    aws.s3.BucketLifecycleConfiguration("life", bucket=bucket.id, rules=[{
        "id": "old", "status": "Enabled",
        "filter": {"and_": {"object_size_greater_than": 1, "tags": {"keep_for": "ever"}}},
        "noncurrent_version_transitions": [{"noncurrent_days": 30, "storage_class": "GLACIER"}]}])
    aws.sqs.Queue("typed", args=aws.sqs.QueueArgs(fifo_queue=True))
    aws.ecr.Repository("images",
        image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True))
    cluster = aws.eks.Cluster("c", role_arn="r", vpc_config={"subnet_ids": ["s"], "endpoint_private_access": True})
    pulumi.export("issuer", cluster.identities[0].oidcs[0].issuer)
graph = record(program, project="modelyard", stack="dev", config={})
modules = [name for name in sys.modules if name.startswith("pulumi_aws.s3.")]
print(json.dumps([[[r.urn, r.inputs] for r in graph.resources], graph.outputs, len(modules)]))
"""


def run(script, *words):
    done = subprocess.run([sys.executable, "-c", script, *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def usual():
    return run(NAMES, "usual", "sqs", "[]")


def test_every_name_of_a_service_is_the_same_class_or_function(usual):
    assert len(usual) > 10
    assert run(NAMES, "by-need", "sqs", json.dumps(list(usual))) == usual


def test_all_names_are_there_for_one_who_imports_all(usual):
    assert run(NAMES, "by-need", "sqs", "[]") == usual


def test_nested_inputs_are_made_when_they_are_named_even_where_a_resource_has_one_of_the_same_name():
    names = ["BucketVersioningArgs", "BucketV2VersioningArgs", "BucketLoggingArgsDict", "Bucket", "CannedAcl"]
    assert run(NAMES, "by-need", "s3", json.dumps(names)) == run(NAMES, "usual", "s3", json.dumps(names))


def test_a_program_has_the_same_graph_with_fewer_imports():
    usual, by_need = run(GRAPH, "usual"), run(GRAPH, "by-need")
    assert by_need[:2] == usual[:2]
    assert usual[1] == {"issuer": "https://oidc.eks.us-east-1.amazonaws.com/id/c"}
    assert by_need[2] < 10, usual[2]
    assert usual[2] > 50


def test_a_name_that_is_nowhere_is_an_attribute_error():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(NAMES, "by-need", "sqs", '["Que"]')
    assert "AttributeError: module 'pulumi_aws.sqs' has no attribute 'Que'" in caught.value.stderr
