"""Checkov in an environment of its own, since its pins are not the project's; made once, and kept for later runs."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
import uv

LOCK = Path(__file__).with_name("requirements.txt")


@pytest.fixture(scope="session")
def checkov():
    """The Python that has Checkov. Without a package registry its tests are skipped, but never where CI is true."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    kept = platformdirs.user_cache_path("modelyard") / f"checkov-{digest}"
    if not kept.exists():
        try:
            _make(kept)
        except subprocess.CalledProcessError as error:
            reason = f"Checkov can't be installed: {error.stderr.decode().strip().splitlines()[-1]}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
    return kept / "bin" / "python"


def _make(folder):
    """Made beside its place and moved there whole, so that a run that was stopped leaves nothing half made."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    part.parent.mkdir(parents=True, exist_ok=True)
    install = ("pip", "sync", "--require-hashes", "--compile-bytecode", "--python", part, LOCK)
    try:
        for command in (("venv", "--python", sys.executable, part), install):
            subprocess.run([uv.find_uv_bin(), *command], check=True, capture_output=True)
        if not folder.exists():
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
