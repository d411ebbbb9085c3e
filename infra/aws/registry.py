"""Container images of the environment's own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.key import Key, KeyArgs
from infra.aws.options import kept
from infra.settings.base import Lifetime
from infra.settings.environment import RegistrySettings

MIRROR = "mirror"
"""Under this, after the environment's name, mirrored images lie: `dev/mirror/nvcr.io/…`."""
UNTAGGED_DAYS = 14
"""Images without a tag, left by a build that went wrong, go after this."""


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """What is decided before the run."""

    environment: str
    account_id: str
    settings: RegistrySettings
    lifetime: Lifetime
    region: str


class Registry(pulumi.ComponentResource):
    """ECR repositories.

    - a KMS key for their images
    - each repository: tags that can't be moved, images scanned when pushed, old ones going
    - its policy: images are pulled by this account alone
    - how repositories are made when mirrored images are pushed
    """

    urls: dict[str, pulumi.Output[str]]
    """By the names in the settings: where to push to."""
    arns: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Registry", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = KeyArgs(
            purpose="container images",
            environment=args.environment,
            account_id=args.account_id,
            lifetime=args.lifetime,
        )
        key_arn = Key(name, key, child).arn
        self.urls, self.arns = {}, {}
        for image in args.settings.repositories:
            repository = aws.ecr.Repository(
                f"{name}-{image}",
                name=f"{args.environment}/{image}",
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scan_on_push": True},
                encryption_configurations=[{"encryption_type": "KMS", "kms_key": key_arn}],
                force_delete=not args.lifetime.durable,
                tags={"data-class": "internal"},
                opts=kept(self, args.lifetime),
            )
            aws.ecr.LifecyclePolicy(
                f"{name}-{image}-lifecycle",
                repository=repository.name,
                policy=json.dumps(image_lifecycle(args.settings.keep_images)),
                opts=child,
            )
            aws.ecr.RepositoryPolicy(
                f"{name}-{image}-policy",
                repository=repository.name,
                policy=json.dumps(pulled_by(args.account_id)),
                opts=child,
            )
            self.urls[image] = repository.repository_url
            self.arns[image] = repository.arn
        RepositoryTemplates(
            f"{name}-mirror",
            RepositoryTemplatesArgs(
                region=args.region,
                account_id=args.account_id,
                role_name=f"modelyard-{args.environment}-mirror",
                prefixes=[f"{args.environment}/{MIRROR}"],
                made_for="CREATE_ON_PUSH",
                key_arn=key_arn,
                keep_images=args.settings.keep_images,
            ),
            child,
        )
        self.register_outputs({"urls": self.urls, "arns": self.arns})


@dataclass(frozen=True, kw_only=True)
class RepositoryTemplatesArgs:
    """`prefixes` begin the names of the repositories that ECR makes by itself."""

    region: str
    account_id: str
    role_name: str
    prefixes: Sequence[str]
    made_for: Literal["CREATE_ON_PUSH", "PULL_THROUGH_CACHE"]
    key_arn: pulumi.Input[str]
    keep_images: int


class RepositoryTemplates(pulumi.ComponentResource):
    """How ECR makes repositories by itself: like ours.

    - a template for each prefix: tags that can't be moved, images encrypted, old ones going
    - the role by which ECR makes them
    """

    prefixes: dict[str, pulumi.Output[str]]
    """Known once their templates are there, so that what uses one waits for its template."""

    def __init__(self, name: str, args: RepositoryTemplatesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:RepositoryTemplates", name, {}, opts)
        repositories = [f"arn:aws:ecr:{args.region}:{args.account_id}:repository/{each}/*" for each in args.prefixes]
        role = aws.iam.Role(
            f"{name}-role",
            name=args.role_name,
            assume_role_policy=json.dumps(trust_registry()),
            opts=pulumi.ResourceOptions(parent=self),
        )
        rights = aws.iam.RolePolicy(
            f"{name}-role-policy",
            role=role.name,
            policy=pulumi.Output.json_dumps(
                pulumi.Output.from_input(args.key_arn).apply(lambda key_arn: maker_policy(repositories, key_arn))
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.prefixes = {
            prefix: aws.ecr.RepositoryCreationTemplate(
                f"{name}-{prefix}",
                prefix=prefix,
                applied_fors=[args.made_for],
                image_tag_mutability="IMMUTABLE",
                encryption_configurations=[{"encryption_type": "KMS", "kms_key": args.key_arn}],
                lifecycle_policy=json.dumps(image_lifecycle(args.keep_images)),
                repository_policy=json.dumps(pulled_by(args.account_id)),
                custom_role_arn=role.arn,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[rights]),
            ).prefix
            for prefix in args.prefixes
        }
        self.register_outputs({"prefixes": self.prefixes})


def image_lifecycle(keep_images: int) -> dict[str, Any]:
    """The newest images stay; what has no tag goes first."""

    untagged = {
        "tagStatus": "untagged",
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": UNTAGGED_DAYS,
    }
    newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": keep_images}
    return {
        "rules": [
            {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}
            for priority, selection in enumerate((untagged, newest), start=1)
        ]
    }


def pulled_by(account_id: str) -> iam.Document:
    """This account may pull, where its IAM policies say so; nobody else may, and nothing here lets anybody push."""
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return iam.document(iam.allow_principal("Pull", {"AWS": f"arn:aws:iam::{account_id}:root"}, pull))


def trust_registry() -> iam.Document:
    """ECR, as its User Guide has it for repository templates: without the account, which ECR isn't said to name."""
    return iam.document(iam.allow_principal("Registry", {"Service": "ecr.amazonaws.com"}, ["sts:AssumeRole"]))


def maker_policy(repository_arns: Sequence[str], key_arn: str) -> iam.Document:
    """What ECR needs to make these repositories, encrypted (ECR User Guide, repository templates)."""
    make = ["ecr:CreateRepository", "ecr:ReplicateImage", "ecr:TagResource"]
    return iam.document(
        iam.allow("Repositories", make, repository_arns),
        iam.allow("Encrypt", ["kms:CreateGrant", "kms:RetireGrant", "kms:DescribeKey"], [key_arn]),
    )
