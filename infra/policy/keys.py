"""Keys, secrets and logs."""

from collections.abc import Iterator

from pulumi_policy import Severity

from infra.policy.control import Item, Stack, each, together

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
TRAIL = "aws:cloudtrail/trail:Trail"
LEAST_DAYS = 365
DATABASES = ("aws:rds/instance:Instance", "aws:rds/cluster:Cluster")
MADE_HERE = (
    "aws:secretsmanager/secretVersion:SecretVersion",
    "random:index/randomPassword:RandomPassword",
    "tls:index/privateKey:PrivateKey",
)
"""Resources whose state holds a secret's value."""


@each("kms-key-rotation", Severity.HIGH, [3], "CIS 5.3.1; CKV_AWS_7", "aws:kms/key:Key")
def key_rotation(key: Item) -> Iterator[str]:
    """Every key of ours rotates."""
    if key.at("enableKeyRotation") != True:  # noqa: E712 an unknown is equal to everything
        yield "it never rotates: set enableKeyRotation"


@each("log-group-kept", Severity.MEDIUM, [4], "CKV_AWS_66, 158, 338; NSA", LOG_GROUP, setting="security")
def log_group_kept(group: Item) -> Iterator[str]:
    """Logs are kept for a year, not for ever, and are encrypted with a key of our own."""
    days = group.at("retentionInDays")
    if not days:
        yield "its logs are kept for ever: set retentionInDays"
    elif isinstance(days, int | float) and days < LEAST_DAYS:
        yield f"its logs are gone after {days:g} days; keep them for {LEAST_DAYS} at least"
    if not group.at("kmsKeyId"):
        yield "its logs aren't encrypted with a key of our own"


@together("audit-trail", Severity.HIGH, [4, 31], "FSBP CloudTrail.2, CloudTrail.4; CKV_AWS_35, 36")
def audit_trail(stack: Stack) -> Iterator[tuple[Item, str]]:
    """A trail tells who touched which object; its files are encrypted with our own key, and show if one was changed."""
    trails = stack.of(TRAIL)
    for cluster in stack.of("aws:eks/cluster:Cluster") if not trails else ():
        yield cluster, "no trail tells who touched which object beside it"
    for trail in trails:
        if trail.at("enableLogFileValidation") != True:  # noqa: E712 an unknown is equal to everything
            yield trail, "nobody could see that one of its files was changed: set enableLogFileValidation"
        if not trail.at("kmsKeyId"):
            yield trail, "its files aren't encrypted with a key of our own"
        if trail.at("enableLogging") == False:  # noqa: E712 on unless it is switched off
            yield trail, "it is switched off"
        if not (trail.at("advancedEventSelectors") or trail.at("eventSelectors")):
            yield trail, "it doesn't say which events it is of"


@each("no-secrets-in-state", Severity.CRITICAL, [33], "CIS 4.4.1; pulumi-kubernetes 999", *DATABASES, *MADE_HERE)
def no_secrets_in_state(item: Item) -> Iterator[str]:
    """AWS makes and rotates passwords; Pulumi's state never holds one."""
    if item.type in MADE_HERE:
        yield f"{item.type.rpartition(':')[2]} puts a secret's value into the state"
        return
    if item.at("password") or item.at("masterPassword"):
        yield "its password is in the state"
    if item.at("manageMasterUserPassword") != True:  # noqa: E712
        yield "its password isn't made and rotated by Secrets Manager: set manageMasterUserPassword"
