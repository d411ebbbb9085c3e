import json
from fnmatch import fnmatchcase

import pytest

from infra.aws import iam
from infra.aws.identity import PARTS, POLICIES, Identity, IdentityArgs, Reach, team_boundary
from tests.program.iam_lint import findings

ACCOUNT = "123456789012"
CLUSTER = f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/dev"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"
BUCKETS = {name: f"arn:aws:s3:::dev-{ACCOUNT}-us-east-1-{name}" for name in ("data", "artifacts", "models", "audit")}
KEYS = {name: f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{name}" for name in BUCKETS}
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:rds!db-1-abcdef"
SECRET_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/database"

REACH = Reach(
    environment="dev",
    region="us-east-1",
    account_id=ACCOUNT,
    cluster_name="dev",
    cluster_security_group_id="sg-1",
    vpc_id="vpc-1",
    bucket_arns=BUCKETS,
    key_arns=KEYS,
    secret_arns=[SECRET],
    secret_key_arns=[SECRET_KEY],
)
DOCUMENTS = {part: policy(REACH) for part, policy in POLICIES.items()} | {"team boundary": team_boundary(REACH)}
NAMESPACE = "${aws:PrincipalTag/kubernetes-namespace}"


def build():
    return Identity(
        "identity",
        IdentityArgs(
            environment="dev",
            region="us-east-1",
            account_id=ACCOUNT,
            cluster_name="dev",
            cluster_arn=CLUSTER,
            cluster_security_group_id="sg-1",
            vpc_id="vpc-1",
            oidc_provider_arn=PROVIDER,
            oidc_issuer="https://oidc.eks.us-east-1.amazonaws.com/id/ABC",
            bucket_arns=BUCKETS,
            key_arns=KEYS,
            secret_arns=[SECRET],
            secret_key_arns=[SECRET_KEY],
        ),
    )


def allowed(part: str, action: str) -> list[str]:
    return [
        resource
        for statement in DOCUMENTS[part]["Statement"]
        if statement["Effect"] == "Allow" and action in statement["Action"]
        for resource in statement["Resource"]
    ]


def test_each_part_has_a_role_of_its_own_with_its_own_policy(deploy):
    inputs = deploy(build).inputs
    assert set(PARTS) == set(POLICIES)
    for part in PARTS:
        assert inputs[f"identity-{part}-role"]["name"] == f"modelyard-dev-{part}"
        assert json.loads(inputs[f"identity-{part}-policy"]["policy"]) == DOCUMENTS[part]


def test_a_part_is_bound_to_its_service_account_one_way_and_not_both(deploy):
    inputs = deploy(build).inputs
    for part, bound in PARTS.items():
        (trust,) = json.loads(inputs[f"identity-{part}-role"]["assumeRolePolicy"])["Statement"]
        association = inputs.get(f"identity-{part}-association")
        if bound.irsa:
            assert association is None
            assert trust["Principal"] == {"Federated": PROVIDER}
            assert trust["Condition"]["StringEquals"] == {
                "oidc.eks.us-east-1.amazonaws.com/id/ABC:sub": (
                    f"system:serviceaccount:{bound.namespace}:{bound.service_account}"
                ),
                "oidc.eks.us-east-1.amazonaws.com/id/ABC:aud": "sts.amazonaws.com",
            }
        else:
            assert association is not None
            assert (association["namespace"], association["serviceAccount"]) == (bound.namespace, bound.service_account)
            assert association["roleArn"] == f"arn:aws:test:::identity-{part}-role"
            assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
            assert trust["Condition"]["ArnEquals"] == {"aws:SourceArn": CLUSTER}, "pods of another cluster stay out"


def test_two_parts_never_share_a_service_account():
    assert len({(bound.namespace, bound.service_account) for bound in PARTS.values()}) == len(PARTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_aws_knows_every_action_resource_and_condition(name):
    assert not findings(DOCUMENTS[name])


@pytest.mark.parametrize("part", POLICIES)
def test_a_policy_fits_into_a_role(part):
    assert len(json.dumps(DOCUMENTS[part], separators=(",", ":"))) < 10_240, "the limit of a role's inline policies"


def test_the_boundary_fits_into_a_managed_policy():
    assert len(json.dumps(DOCUMENTS["team boundary"], separators=(",", ":"))) < 6_144, "the limit of a managed policy"


@pytest.mark.parametrize(
    ("action", "resource", "conditions", "finding"),
    [
        ("s3:GetObjekt", "arn:aws:s3:::b/*", None, "is no action"),
        ("s3:GetObject", "arn:aws:s3:::b", None, "reaches none of"),
        ("ec2:DescribeVolumes", "arn:aws:ec2:us-east-1:1:volume/*", None, "it needs *"),
        ("ec2:TerminateInstances", "*", {"StringEquals": {"ec2:Region": "us-east-1"}}, "name the resource"),
        (
            "ec2:TerminateInstances",
            "arn:aws:ec2:us-east-1:1:instance/*",
            {"StringEquals": {"aws:RequestTag/a": "b"}},
            "does not know the condition",
        ),
    ],
)
def test_the_linter_sees_what_would_grant_nothing_or_too_much(action, resource, conditions, finding):
    statement = {"Sid": "S", "Effect": "Allow", "Action": [action], "Resource": [resource]}
    (found,) = findings(iam.document(statement | ({"Condition": conditions} if conditions else {})))
    assert finding in found


@pytest.mark.parametrize("resource", ["*", "arn:aws:s3:::*", "arn:aws:s3:::*/*"])
@pytest.mark.parametrize(
    "conditions",
    [
        None,
        {"Bool": {"aws:SecureTransport": "true"}},
        {"StringLike": {"aws:ResourceTag/team": "*"}},
        {"StringNotEquals": {"aws:ResourceTag/team": "other"}},
    ],
)
def test_a_change_on_everything_is_refused_unless_a_condition_says_on_what(resource, conditions):
    with pytest.raises(ValueError, match="s3:PutObject changes things and is allowed on every resource"):
        iam.allow("S", ["s3:PutObject"], [resource], conditions)
    assert iam.allow("S", ["s3:PutObject"], [resource], {"StringEquals": {"aws:ResourceTag/team": "ml"}})


@pytest.mark.parametrize("part", POLICIES)
def test_no_part_may_change_identities(part):
    actions = {a for s in DOCUMENTS[part]["Statement"] for a in s["Action"] if a.startswith(("iam:", "sts:"))}
    assert actions <= {"iam:CreateServiceLinkedRole"}


@pytest.mark.parametrize("part", [part for part in POLICIES if part != "ingress"])
def test_a_part_reads_only_the_buckets_it_needs(part):
    buckets = {
        "pipelines": {"artifacts"},
        "pipelines-ui": {"artifacts"},
        "tracking": {"artifacts"},
        "serving": {"models"},
    }.get(part, set())
    reached = {arn.removeprefix("arn:aws:s3:::").partition("/")[0] for arn in allowed(part, "s3:GetObject")}
    assert reached == {BUCKETS[bucket].rpartition(":")[2] for bucket in buckets}


def test_only_pipelines_and_tracking_write_objects_and_each_under_its_own_prefix():
    writes = {part: allowed(part, "s3:PutObject") for part in POLICIES}
    assert {part: arns for part, arns in writes.items() if arns} == {
        "pipelines": [f"{BUCKETS['artifacts']}/pipelines/*"],
        "tracking": [f"{BUCKETS['artifacts']}/mlflow/*"],
    }


def test_external_secrets_reads_the_environments_secrets_and_the_databases_and_no_others():
    assert allowed("secrets", "secretsmanager:GetSecretValue") == [
        f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:dev/*",
        SECRET,
    ]
    assert {part for part in POLICIES if allowed(part, "secretsmanager:GetSecretValue")} == {"secrets"}


@pytest.mark.parametrize("group", ["audit", "flow-logs"])
def test_fluent_bit_writes_what_pods_say_and_into_no_trail(group):
    (pattern,) = allowed("logging", "logs:PutLogEvents")
    logs = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/modelyard/dev"
    assert fnmatchcase(f"{logs}/pods:log-stream:one", pattern)
    assert not fnmatchcase(f"{logs}/{group}:log-stream:one", pattern), "a pod could forge what is evidence"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_key_is_used_only_through_the_service_whose_data_it_guards(name):
    for statement in DOCUMENTS[name]["Statement"]:
        if statement["Effect"] == "Allow" and any(action.startswith("kms:") for action in statement["Action"]):
            assert statement["Condition"]["StringEquals"].get("kms:ViaService"), statement["Sid"]
            assert "*" not in statement["Resource"]


def test_the_load_balancer_controller_changes_only_what_carries_its_clusters_tag():
    tag = "elbv2.k8s.aws/cluster"
    untagged = {
        "FirstLoadBalancer",
        "Look",
        "LookAtCertificates",
        "LookAtGroupsOfVpc",
        "MakeGroupsInVpc",
        "LetIntoCluster",
        "OrderRules",
    }
    for statement in DOCUMENTS["ingress"]["Statement"]:
        if statement["Sid"] not in untagged:
            equals = statement["Condition"]["StringEquals"]
            assert "dev" in {equals.get(f"aws:{whose}/{tag}") for whose in ("RequestTag", "ResourceTag")}
    assert allowed("ingress", "ec2:AuthorizeSecurityGroupIngress") == [
        f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/*",  # with the tag
        f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/sg-1",
    ]


def test_a_team_reaches_no_object_outside_the_prefix_of_its_namespace():
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert allowed("team boundary", action) == [
            f"{BUCKETS[bucket]}/{NAMESPACE}/*" for bucket in ("data", "artifacts", "models")
        ]
    (listing,) = [s for s in DOCUMENTS["team boundary"]["Statement"] if "s3:ListBucket" in s["Action"]]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": f"{NAMESPACE}/*"}}, (
        "without the slash, team 'vision' would list the objects of 'vision2'"
    )


def test_a_team_can_neither_widen_its_rights_nor_leave_the_account():
    denied = {s["Sid"]: s for s in DOCUMENTS["team boundary"]["Statement"] if s["Effect"] == "Deny"}
    assert {"iam:*", "sts:AssumeRole", "organizations:*"} <= set(denied["NoIdentities"]["Action"])
    assert "Condition" not in denied["NoIdentities"]
    assert denied["NoOtherAccounts"]["Condition"] == {"StringNotEquals": {"aws:ResourceAccount": ACCOUNT}}
    assert {"s3:*", "kms:*"} <= set(denied["NoOtherAccounts"]["Action"])


def test_a_team_may_use_objects_their_keys_and_images_and_nothing_else():
    services = {
        action.partition(":")[0]
        for statement in DOCUMENTS["team boundary"]["Statement"]
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
    }
    assert services == {"s3", "kms", "ecr"}


def test_in_a_plan_where_a_databases_secret_is_not_known_yet_no_empty_resource_is_allowed():
    before = Reach(**{**vars(REACH), "secret_arns": [""]})
    (reads,) = [s for s in POLICIES["secrets"](before)["Statement"] if s["Sid"] == "ReadSecrets"]
    assert reads["Resource"] == [f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:dev/*"]


def test_every_part_hangs_under_the_component_and_is_named_after_it(deploy):
    urns = deploy(build).urns
    parts = [urn for urn in urns if not urn.endswith("modelyard:aws:Identity::identity")]
    assert len(parts) == len(urns) - 1
    assert not [urn for urn in parts if "::modelyard:aws:Identity$" not in urn or "::identity-" not in urn]
