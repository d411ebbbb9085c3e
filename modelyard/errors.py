"""What the `modelyard` command tells its user in one sentence instead of a traceback."""


class SentenceError(Exception):
    """The message is the sentence; `code` is the command's exit code."""

    code = 1


class FailedError(SentenceError):
    """What was asked for was right and didn't come to a good end."""


class RefusedError(SentenceError):
    """What was asked for can't be done as it was asked."""

    code = 2


class StoppedError(SentenceError):
    """The user stopped it."""

    code = 130
