"""What a plan tells of a violation."""

from datetime import date

import pytest
from pulumi_policy import Severity

from infra.settings.waivers import Waiver, Waivers
from modelyard.plan.findings import UNUSED
from modelyard.plan.graph import UNKNOWN
from tests.policy.cases import (
    AUDIT,
    BY_TAG,
    CLUSTER,
    DATA,
    DATABASE,
    DURABLE,
    EFS,
    ENCRYPTION,
    KMS_KEY,
    LOCK,
    LOGS,
    NODES,
    ROLE,
    document,
    spoil,
)
from tests.policy.conftest import TODAY, resource

REASON = "It is a rehearsal, and nobody else reads it"
OPEN = spoil("cluster", "vpcConfig/publicAccessCidrs", ["0.0.0.0/0"])([CLUSTER])


def waived(dev, policy, resources, expires):
    return Waivers((Waiver(policy=policy, resources=resources, reason=REASON, expires=expires),), dev.document)


def of(policy, found):
    return next(finding for finding in found if finding.policy == policy)


def test_a_finding_names_the_line_of_the_setting_that_decides(judge, dev):
    finding = of("eks-private-endpoint", judge(OPEN))
    text = dev.document.path.read_text(encoding="utf-8").splitlines()
    assert "public_access_from" in text[finding.line - 1]
    assert finding.file == "stacks/Pulumi.dev.yaml"
    assert finding.message == "its public endpoint is open to 0.0.0.0/0"
    assert (finding.severity, finding.control, finding.urn) == (Severity.CRITICAL, (1,), CLUSTER.urn)


def test_a_setting_that_is_left_out_has_no_line_because_its_default_decides(judge):
    finding = of("s3-lifecycle", judge([DATA]))
    assert (finding.setting, finding.line, finding.file) == ("storage.keep_old_versions_days", None, "")


def test_the_most_severe_comes_first(judge):
    ranks = [finding.rank for finding in judge([DATA, *OPEN])]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] == 3


@pytest.mark.parametrize("resources", ["cluster", "clu*", CLUSTER.urn, "urn:pulumi:dev::*"])
def test_a_waiver_covers_by_name_or_urn_and_the_finding_stays_in_sight(judge, dev, resources):
    waivers = waived(dev, "eks-private-endpoint", resources, date(2027, 1, 1))
    finding = of("eks-private-endpoint", judge(OPEN, waivers))
    assert finding.waived == waivers.granted[0]


@pytest.mark.parametrize("resources", ["other", "urn:pulumi:prod::*"])
def test_a_waiver_for_something_else_covers_nothing(judge, dev, resources):
    waivers = waived(dev, "eks-private-endpoint", resources, date(2027, 1, 1))
    assert of("eks-private-endpoint", judge(OPEN, waivers)).waived is None


def test_from_the_day_that_it_expires_a_waiver_counts_no_more_and_the_finding_says_so(judge, dev):
    waivers = waived(dev, "eks-private-endpoint", "cluster", TODAY)
    finding = of("eks-private-endpoint", judge(OPEN, waivers))
    assert finding.waived is None
    assert finding.message == "its public endpoint is open to 0.0.0.0/0; its waiver expired on 2026-11-21"
    assert of("eks-private-endpoint", judge(OPEN, waivers, date(2026, 11, 20))).waived


def test_a_waiver_that_matches_nothing_any_more_is_told(judge, dev):
    waivers = waived(dev, "eks-private-endpoint", "cluster", date(2027, 1, 1))
    finding = of(UNUSED, judge([CLUSTER], waivers))
    assert "eks-private-endpoint matches nothing in dev" in finding.message
    assert not any(finding.policy == UNUSED for finding in judge(OPEN, waivers))


@pytest.mark.parametrize(
    ("policy", "resources"), [("eks-private-endpoint", "urn:pulumi:prod::*"), ("CKV_AWS_144", "cluster")]
)
def test_a_waiver_for_another_stack_or_for_checkov_is_not_missed_here(judge, dev, policy, resources):
    assert not any(one.policy == UNUSED for one in judge([CLUSTER], waived(dev, policy, resources, date(2027, 1, 1))))


def test_a_version_is_judged_by_the_day_of_the_plan(judge):
    assert not any(one.policy == "eks-supported-version" for one in judge([CLUSTER]))
    assert "ended on 2027-03-27" in of("eks-supported-version", judge([CLUSTER], today=date(2027, 3, 28))).message


def test_what_only_aws_will_know_is_not_taken_for_a_violation(judge):
    unknown = resource(CLUSTER.type, "cluster", dict.fromkeys(CLUSTER.inputs, UNKNOWN) | {"version": "1.35"})
    key = resource(KMS_KEY.type, "key", {"enableKeyRotation": UNKNOWN, "policy": UNKNOWN})
    role = resource(ROLE.type, "role", {"inlinePolicies": UNKNOWN, "managedPolicyArns": UNKNOWN})
    encryption = spoil("encryption", "rules/0/applyServerSideEncryptionByDefault/kmsMasterKeyId", UNKNOWN)
    found = judge([unknown, key, role, NODES, DATA, *encryption([ENCRYPTION])])
    hasty = ("eks-private", "eks-secrets", "eks-control", "eks-supported", "eks-access", "kms-", "s3-own-key", "no-pub")
    assert not [finding for finding in found if finding.policy.startswith((*hasty, "node-role"))]


def test_a_backup_by_tag_covers_what_has_the_tag(judge):
    found = judge([DURABLE, DATABASE, EFS, BY_TAG])
    assert [finding.urn for finding in found if finding.policy == "snapshots"] == [EFS.urn]


def test_the_network_of_an_existing_vpc_is_told_as_not_checked(judge):
    (told,) = [finding for finding in judge([CLUSTER]) if finding.policy == "network-checked"]
    assert told.severity is Severity.LOW
    assert told.message.startswith("not checked: the network is yours")


def test_an_account_locks_what_is_audited_and_has_no_models(judge):
    account = resource("modelyard:index:Account", "account", {"lifetime": "durable"})
    locks = [
        [finding.urn for finding in judge([account, AUDIT, *lock]) if finding.policy == "s3-object-lock"]
        for lock in ([LOCK], [])
    ]
    assert locks == [[], [AUDIT.urn]]


def test_what_is_not_durable_needs_no_object_lock(judge):
    assert not any(finding.policy == "s3-object-lock" for finding in judge([DATA, LOGS]))


def test_a_condition_narrows_what_may_be_done_everywhere(judge):
    tagged = document(
        Action=["ec2:TerminateInstances"],
        Resource="*",
        Condition={"StringEquals": {"aws:ResourceTag/modelyard": "dev"}},
    )
    found = judge([resource("aws:iam/policy:Policy", "grant", {"policy": tagged})])
    assert not any(finding.policy == "iam-writes-named" for finding in found)
