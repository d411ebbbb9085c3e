"""The policy pack as Pulumi's engine starts it: a process that answers over gRPC."""

import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy import PolicyResource, StackValidationArgs, StackValidationPolicy
from pulumi_policy.policy import PolicyCustomTimeouts, PolicyResourceOptions
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from infra.policy import CONTROLS
from infra.policy.waiving import honouring
from infra.settings.waivers import Waiver, Waivers
from tests.policy.cases import BLOCK, CLUSTER, DATA, spoil

PACK = Path(__file__).parents[2] / "infra" / "policy"


@pytest.fixture(scope="module")
def pack():
    command = [sys.executable, "-m", "pulumi.policy", "127.0.0.1:1", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PACK) as process:
        try:
            assert process.stdout
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield analyzer_pb2_grpc.AnalyzerStub(channel)
        finally:
            process.kill()


def sent(kind, made):
    request = kind(type=made.type, urn=made.urn, name=made.name)
    request.options.SetInParent()
    request.properties.update(made.inputs)
    return request


def analyzed(pack, *resources):
    request = analyzer_pb2.AnalyzeStackRequest()
    for one in resources:
        made = sent(analyzer_pb2.AnalyzerResource, one)
        for key, urns in one.property_dependencies.items():
            made.propertyDependencies[key].urns.extend(urns)
        request.resources.append(made)
    return pack.AnalyzeStack(request).diagnostics


def test_the_pack_serves_every_control(pack):
    info = pack.GetAnalyzerInfo(empty_pb2.Empty())
    assert [policy.name for policy in info.policies] == [control.name for control in CONTROLS]
    assert info.name == "modelyard"


def test_a_serious_violation_stops_the_update_and_is_told_with_its_control(pack):
    (cluster,) = spoil("cluster", "vpcConfig/publicAccessCidrs", ["0.0.0.0/0"])([CLUSTER])
    (told,) = pack.Analyze(sent(analyzer_pb2.AnalyzeRequest, cluster)).diagnostics
    assert told.policyName == "eks-private-endpoint"
    assert told.enforcementLevel == analyzer_pb2.MANDATORY
    assert told.message.endswith("its public endpoint is open to 0.0.0.0/0")
    assert "control 1; CIS 5.4.1" in told.message
    assert not pack.Analyze(sent(analyzer_pb2.AnalyzeRequest, CLUSTER)).diagnostics


def test_resources_that_belong_together_are_judged_together_and_told_where(pack):
    alone = {one.policyName: one for one in analyzed(pack, DATA)}
    assert alone["s3-public-access-block"].urn == DATA.urn
    assert "s3-public-access-block" not in {one.policyName for one in analyzed(pack, DATA, BLOCK)}


def test_what_is_unknown_in_a_preview_spares_no_other_resource(pack):
    """Pulumi's SDK gives a policy up at the first unknown value that it reads."""
    (unsure,) = spoil("block", "blockPublicAcls", UNKNOWN_STRING_VALUE)([BLOCK])
    other = spoil("storage-models-bucket", urn="urn:pulumi:dev::modelyard::aws:s3/bucket:Bucket::other")([DATA])
    told = [one for one in analyzed(pack, DATA, unsure, *other) if one.policyName == "s3-public-access-block"]
    assert [one.urn for one in told] == [other[0].urn]


@pytest.mark.parametrize(
    ("expires", "messages"),
    [
        (date(2026, 11, 22), []),
        (date(2026, 11, 21), ["what is overwritten or deleted is lost: it has no versions; its waiver expired on"]),
    ],
)
def test_a_waiver_holds_under_an_update_until_it_expires(dev, expires, messages):
    reason = "It is a rehearsal, and nobody else reads it"
    waiver = Waiver(policy="s3-versioning", resources="storage-*", reason=reason, expires=expires)
    through = honouring(Waivers((waiver,), dev.document), date(2026, 11, 21))
    options = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [], None)
    bucket = PolicyResource(DATA.type, DATA.inputs, DATA.urn, DATA.name, options, None, None, [], {})
    (control,) = (control for control in CONTROLS if control.name == "s3-versioning")
    told = []
    policy = control.policy(through)
    assert isinstance(policy, StackValidationPolicy)
    policy.validate(StackValidationArgs([bucket]), lambda message, urn: told.append(message))
    assert [message.rpartition(" ")[0] for message in told] == messages


def test_waivers_that_can_not_be_read_stop_the_update_in_one_sentence(tmp_path):
    pack, stacks = tmp_path / "infra" / "policy", tmp_path / "stacks"
    pack.mkdir(parents=True)
    stacks.mkdir()
    shutil.copy(PACK / "__main__.py", pack)
    (stacks / "waivers.yaml").write_text("waivers: no\n", encoding="utf-8")
    command = [sys.executable, "-m", "pulumi.policy", "127.0.0.1:1", "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=pack, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r".*waivers.yaml:1: waivers: YAML readers disagree about a plain no; .*\n", done.stderr)
