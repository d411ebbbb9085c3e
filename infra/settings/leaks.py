"""Finds secrets in plain text, wherever they stand in a file: as a value, as a key, in a list, in a comment."""

import re
from collections.abc import Iterator

SECRETS = {
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a GitLab token": r"\bglpat-[\w-]{16,}",
    "a Docker token": r"\bdckr_[a-z]+_[\w-]{16,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{16,}",
    "an API key": r"\b(sk-[A-Za-z0-9_-]{16,}|AIza[\w-]{30,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,})",
    "a Slack token": r"\bxox[abeoprs]-[\w-]{10,}",
    "a Slack webhook": r"hooks\.slack\.com/services/\S+",
    "a Pulumi token": r"\bpul-[0-9a-f]{40}\b",
    "a JSON web token": r"\beyJ[\w-]{10,}\.[\w-]{10,}\.",
    "a password in an address": r"://[^/\s:@]+:[^/\s@]+@",
    "a password or key": r"""(?ix) ^[^\#]*?
        (password|passwd|passphrase|secret|token|api_?key|(access|secret|private)_?key)
        ["']? \s* : \s* (?!\s|[|>]|secure:|\{\s*secure:|arn:|$) \S""",
    "an AWS secret key": r"(?<![\w/+=])(?=\S*[A-Z])(?=\S*[a-z])(?=\S*\d)[A-Za-z0-9/+]{40}(?![\w/+=])",
}
ENCRYPTED = re.compile(r"\s*(encryptedkey|encryptionsalt|secure)\s*:")
"""Pulumi's own cipher texts, in which anything may stand by chance."""
REMEDY = "take it out, revoke it, and keep the new one in Secrets Manager"


def leaks(text: str) -> Iterator[tuple[int, str, str]]:
    """The line of each secret, the key there, and what to do about it; the secret itself is not told."""
    for number, line in enumerate(text.splitlines(), 1):
        if kind := _kind(line):
            named = re.match(r"\s*(?:- )?([\w:.-]+):", line)
            key = named[1] if named and not _kind(named[1]) else ""
            yield number, key, f"it looks like {kind} in plain text; {REMEDY}"


def _kind(line: str) -> str:
    patterns = {k: p for k, p in SECRETS.items() if k != "an AWS secret key" or not ENCRYPTED.match(line)}
    return next((kind for kind, pattern in patterns.items() if re.search(pattern, line)), "")
