"""modelyard env bootstrap: where an environment's state is kept."""

from typing import Annotated

import typer

from modelyard.cli.options import JsonOption
from modelyard.cli.output import Screen

EPILOG = "Example: modelyard env bootstrap dev"


def bootstrap(
    stack: Annotated[str, typer.Argument(metavar="ENV", help="The environment, or account.NAME.")],
    as_json: JsonOption = False,
) -> None:
    """Make what keeps an environment's state: a bucket, a key for secrets, and the stack in it.

    All stacks on an account share the bucket and the key. A second time nothing is changed.
    """
    from infra.settings.stacks import AccountStack, load
    from modelyard import bootstrap as bootstrapping
    from modelyard.cli.env import settings_sentences
    from modelyard.errors import RefusedError
    from modelyard.project import project

    screen = Screen(as_json=as_json)
    root = project()
    with settings_sentences():
        settings = load(root / "stacks", stack)
    account = settings if isinstance(settings, AccountStack) else settings.account
    if account is None:
        raise RefusedError(f"{stack} is on an existing cluster: its state is kept where `pulumi login` says")
    made: list[str] = []

    def tell(thing: str) -> None:
        made.append(thing)
        screen.note(f"made: {thing}")

    with screen.waiting(f"account {account.settings.account_id}, {account.settings.region}"):
        bootstrapping.bootstrap(stack, account.settings, root, tell)
    url = bootstrapping.backend_url(account.settings)
    screen.show(f"{'ready' if made else 'nothing to do'}: PULUMI_BACKEND_URL={url}")
    screen.finish({"stack": stack, "made": made, "backend": url})
