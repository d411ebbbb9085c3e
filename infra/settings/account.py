"""What may be written about an AWS account."""

from typing import Annotated, Literal

from pydantic import Field

from infra.settings.base import AccountId, Arn, CostCenter, Email, Lifetime, RegionName, Settings

Upstream = Literal["public.ecr.aws", "registry.k8s.io", "quay.io", "docker.io", "ghcr.io", "registry.gitlab.com"]
OPEN_UPSTREAMS: tuple[Upstream, ...] = ("public.ecr.aws", "registry.k8s.io", "quay.io")
"""Registries that ECR pulls through without credentials."""
AccountWide = Literal[
    "public-buckets",
    "public-snapshots",
    "public-images",
    "volume-encryption",
    "instance-metadata",
    "access-analyser",
    "image-scanning",
    "registry-policy",
    "management-events",
]
"""What an account or its region has once, so that two owners would undo each other's."""


class AccountSettings(Settings):
    """What exists once an AWS account and region; `account.NAME` is its stack, and environments name it."""

    account_id: AccountId
    """The account; `up` in another one is refused."""
    region: RegionName
    """The region of the account stack and of every environment on it."""
    owner: Email
    """Who answers for it."""
    cost_center: CostCenter
    """Who pays for it: the tag `cost-center`."""
    lifetime: Lifetime = Lifetime.DURABLE
    """`throwaway` may be destroyed to nothing, `durable` protects what holds data."""
    notify: Annotated[tuple[Email, ...], Field(min_length=1, max_length=10)]
    """Who is told of unusual spending and of threats."""
    anomaly_usd: Annotated[float, Field(ge=1)] = 100
    """Unusual spending of at least this many dollars a day is reported."""
    anomaly_monitor: Arn | None = None
    """An existing monitor to be told by, since an account has one by AWS service; left out: that one is made."""
    threat_detection: bool = True
    """GuardDuty with EKS runtime monitoring; off only where your organisation runs it for all accounts."""
    activate_cost_tags: bool = False
    """Tell costs apart by owner and environment: where the account pays for itself, a day after the first bill."""
    cost_tags_active: bool = False
    """The paying account has made `environment` a cost-allocation tag; until it is one, a budget counts the account."""
    leave_to_others: tuple[AccountWide, ...] = ()
    """What something else manages here already: an organisation, or the account stack of another region.

    `public-buckets` and `management-events`, the trail of changes, are the account's, the others are each region's.
    """
    pull_through: tuple[Upstream, ...] = OPEN_UPSTREAMS
    """Registries whose images are pulled through ECR."""
    pull_through_credentials: dict[Upstream, Arn] = Field(default={})
    """For docker.io, ghcr.io and registry.gitlab.com: the secret `ecr-pullthroughcache/…` in Secrets Manager."""
