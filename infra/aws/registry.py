"""Container images of the environment's own."""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws import iam
from infra.aws.key import Key, KeyArgs
from infra.aws.options import kept
from infra.settings.base import Lifetime
from infra.settings.environment import RegistrySettings

UNTAGGED_DAYS = 14
"""Images without a tag, left by a build that went wrong, go after this."""


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """What is decided before the run."""

    environment: str
    account_id: str
    settings: RegistrySettings
    lifetime: Lifetime


class Registry(pulumi.ComponentResource):
    """ECR repositories.

    - a KMS key for their images
    - each repository: tags that can't be moved, images scanned when pushed, old ones going
    - its policy: images are pulled by this account alone
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
        self.register_outputs({"urls": self.urls, "arns": self.arns})


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
