"""Copies images of publishers that ECR can't pull through into the environment's registry, digest by digest."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import botocore.exceptions

from modelyard.errors import FailedError, RefusedError

TIMEOUT_S = 3600
"""For one image; those for GPUs have tens of gigabytes."""
IMAGE = re.compile(
    r"(?P<name>[a-z0-9]+(?:[._/:-]+[a-z0-9]+)*?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
ABSENT = ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "404 Not Found", "manifest unknown", "name unknown")
"""How registries and tools say that there is no such image."""


@dataclass(frozen=True)
class Tool:
    """How a tool is called; `{}` stands for images. All copy every platform and keep the digest."""

    digest: tuple[str, ...]
    copy: tuple[str, ...]


TOOLS = {
    "crane": Tool(digest=("digest", "{}"), copy=("copy", "{}", "{}")),
    "skopeo": Tool(
        digest=("inspect", "--no-tags", "--format", "{{{{.Digest}}}}", "docker://{}"),
        copy=("copy", "--all", "--preserve-digests", "docker://{}", "docker://{}"),
    ),
}
INSTALL = (
    "neither crane nor skopeo is on the PATH, and one of them copies the images: install skopeo from your system's"
    " packages, or crane from github.com/google/go-containerregistry"
)


@dataclass(frozen=True)
class Image:
    """A reference to an image, taken apart."""

    name: str
    """With its registry."""
    tag: str
    digest: str
    """Either may be empty, but not both."""

    @property
    def source(self) -> str:
        """Where it is copied from: by digest where that is known, so that a moved tag is no matter."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    def copied_to(self, registry: str) -> str:
        """Where it is copied to: always under a tag, since what has none is cleared away."""
        return f"{registry}/{self.name.replace(':', '-')}:{self.tag or self.digest.removeprefix('sha256:')}"


@dataclass(frozen=True)
class Mirrored:
    """One image, and where it is now; `copied` unless it was there already."""

    source: str
    target: str
    digest: str
    copied: bool


def mirror(
    images: Iterable[str], registry: str, user: str = "", password: str = "", environ: Mapping[str, str] = os.environ
) -> Iterator[Mirrored]:
    """Copy what `registry` (a host, with or without a path) doesn't have yet, one after the other.

    Raises RefusedError for a bad reference, for a missing tool, and where a tag in the registry holds something else;
    FailedError where a registry doesn't do its part.
    """
    wanted = [parse(image) for image in images]
    name, path = _tool(environ)
    with _logged_in(registry, user, password, environ) as logged_in:
        for image in wanted:
            yield _mirror(image, registry, _Registries(TOOLS[name], path, logged_in))


def parse(image: str) -> Image:
    """`nvcr.io/nvidia/k8s/dcgm-exporter:4.4.2@sha256:…`, with its registry and a tag, a digest, or both."""
    match = IMAGE.fullmatch(image)
    host, _, path = image.partition("/")
    if not match or not path or not ("." in host or ":" in host or host == "localhost"):
        raise RefusedError(f"{image!r} names no image: write registry/name:tag, registry/name@sha256:… or both")
    if not (match["tag"] or match["digest"]):
        raise RefusedError(f"{image} has no version: add its tag or its digest; latest would change under you")
    return Image(match["name"], match["tag"] or "", match["digest"] or "")


@dataclass(frozen=True)
class _Registries:
    tool: Tool
    path: str
    environ: Mapping[str, str]

    def digest(self, image: str) -> str | None:
        """None where there is no such image."""
        done = self._run(self.tool.digest, image)
        if done.returncode == 0:
            return done.stdout.strip()
        if any(sign in done.stderr for sign in ABSENT):
            return None
        raise FailedError(f"{image} can't be looked up: {_said(done)}")

    def copy(self, source: str, target: str) -> None:
        done = self._run(self.tool.copy, source, target)
        if done.returncode != 0:
            raise FailedError(f"{source} can't be copied to {target}: {_said(done)}")

    def _run(self, command: tuple[str, ...], *images: str) -> subprocess.CompletedProcess[str]:
        names = iter(images)
        filled = [part.format(next(names)) if "{}" in part else part.format() for part in command]
        try:
            return subprocess.run(  # noqa: S603 the tool that was found, and references that were parsed
                [self.path, *filled],
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FailedError(f"{images[0]} took longer than {TIMEOUT_S // 60} minutes; try again later") from None


def _mirror(image: Image, registry: str, registries: _Registries) -> Mirrored:
    target = image.copied_to(registry)
    wanted = image.digest or registries.digest(image.source)
    if wanted is None:
        raise RefusedError(f"{image.source} isn't there: correct its name or its tag")
    there = registries.digest(target)
    if there == wanted:
        return Mirrored(image.source, target, wanted, copied=False)
    if there is not None:
        raise RefusedError(
            f"{target} is {there} already, and {image.source} is {wanted}: tags can't be moved there, so take another"
        )
    registries.copy(f"{image.name}@{wanted}", target)
    if (arrived := registries.digest(target)) != wanted:
        raise FailedError(f"{target} arrived as {arrived} instead of {wanted}; delete it there and try again")
    return Mirrored(image.source, target, wanted, copied=True)


def _tool(environ: Mapping[str, str]) -> tuple[str, str]:
    for name in TOOLS:
        if path := shutil.which(name, path=environ.get("PATH", "")):
            return name, path
    raise RefusedError(INSTALL)


def ecr_login(region: str) -> tuple[str, str]:
    """A user and a password for the account's registry in the region, good for twelve hours."""
    try:
        (data,) = boto3.client("ecr", region_name=region).get_authorization_token()["authorizationData"]
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise FailedError(f"AWS gives no login to its registry in {region}: {error}") from None
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return user, password


@contextmanager
def _logged_in(registry: str, user: str, password: str, environ: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The environment of a tool that is logged in; what Docker's own file knows of other registries stays known.

    The password is in a file that nobody else reads and that goes afterwards: a command line would show it.
    """
    if not password:
        yield environ
        return
    own = Path(environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    known = json.loads(own.read_text()) if own.is_file() else {}
    host = registry.partition("/")[0]
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    known["auths"] = {**known.get("auths", {}), host: {"auth": auth}}
    known["credHelpers"] = {**known.get("credHelpers", {}), host: ""}  # an empty one: take it from this file
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(known))
        yield {**environ, "DOCKER_CONFIG": folder, "REGISTRY_AUTH_FILE": str(file)}


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
