"""modelyard env mirror: images that ECR can't pull through."""

from dataclasses import asdict
from typing import Annotated

import typer

from modelyard.cli.env import Env, settings_sentences
from modelyard.cli.options import JsonOption
from modelyard.cli.output import Screen

EPILOG = "Example: modelyard env mirror dev nvcr.io/nvidia/k8s/dcgm-exporter:4.4.2"


def mirror(
    env: Env,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="registry/name:tag, registry/name@sha256:… or both.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy images into an environment's registry, by digest; what is there already is left alone.

    For publishers that ECR can't pull through, such as nvcr.io. It needs skopeo or crane on the PATH.
    """
    from infra.aws.registry import MIRROR
    from infra.settings.stacks import AccountStack, load
    from modelyard.errors import RefusedError
    from modelyard.mirror import ecr_login, parse
    from modelyard.mirror import mirror as copy
    from modelyard.project import project

    screen = Screen(as_json=as_json)
    with settings_sentences():
        stack = load(project() / "stacks", env)
    if isinstance(stack, AccountStack) or stack.account is None:
        raise RefusedError(f"{env} has no registry of its own; name an environment on AWS")
    for image in images:
        parse(image)
    account = stack.account.settings
    registry = f"{account.account_id}.dkr.ecr.{account.region}.amazonaws.com/{env}/{MIRROR}"
    done = []
    for one in copy(images, registry, *ecr_login(account.region)):
        screen.show(f"{'copied' if one.copied else 'there already'}: {one.target}@{one.digest}")
        done.append(asdict(one))
    screen.finish({"images": done})
