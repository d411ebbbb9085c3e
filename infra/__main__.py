"""The Pulumi program: which stack this is, what it is made of, and what other stacks may know of it."""

from pathlib import Path

import pulumi

from infra.account import Account, AccountArgs
from infra.aws.tags import marked
from infra.environment import Environment, EnvironmentArgs
from infra.settings.files import SettingsError
from infra.settings.stacks import AccountStack, load

STACKS = Path(__file__).parents[1] / "stacks"


def main() -> None:
    """Build the stack that `pulumi` was called for."""
    name, config = pulumi.get_stack(), pulumi.Config()
    try:
        stack = load(STACKS, name, config.get_object("account") or config.get_object("environment"))
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
    opts = pulumi.ResourceOptions(transformations=[marked])
    built: Account | Environment
    if isinstance(stack, AccountStack):
        built = Account("account", AccountArgs(settings=stack.settings), opts)
    else:
        built = Environment("environment", EnvironmentArgs(stack=stack), opts)
    for key, value in built.outputs.items():
        pulumi.export(key, value)


if __name__ == "__main__":
    main()
