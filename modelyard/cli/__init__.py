"""The `modelyard` command."""


def main() -> None:
    """Entry point of the `modelyard` command."""
