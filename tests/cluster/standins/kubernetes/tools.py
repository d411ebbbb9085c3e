"""helm and kubectl, in the user's cache: `python -m tests.cluster.standins.kubernetes.tools` brings them there."""

import fcntl
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import uv
from platformdirs import user_cache_path

from tests.cluster.standins.serve import RefusedError

LOCK = Path(__file__).with_name("tools.txt")
FETCH = f"python -m {__spec__.parent}.tools"
PATIENCE = 600
"""Seconds that one of them may take."""


def tool(name: str) -> Path:
    """One of them. Raises RefusedError where they aren't."""
    path = _target() / name
    if not path.exists():
        raise RefusedError(f"{name} isn't in the cache: {FETCH}")
    return path


def fetch() -> None:
    """Bring them; a second call does nothing, and who comes second waits."""
    target = _target()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with TemporaryDirectory(dir=target.parent) as folder:
                _unpack(Path(folder))
                shutil.move(Path(folder) / "tools", target)


def run(name: str, words: Sequence[str | Path], text: str = "") -> str:
    """What one of them says. Raises RefusedError with its reason where it fails."""
    done = subprocess.run(
        [tool(name), *words], input=text, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode:
        lines = done.stderr.splitlines() or ["it gives no reason"]
        said = next((line for line in lines if line.startswith(("Error: ", "error: "))), lines[-1])
        raise RefusedError(f"{name} {words[0]}: {re.sub('^[Ee]rror: ', '', said)}")
    return done.stdout


def _target() -> Path:
    return user_cache_path("modelyard") / "cluster" / f"tools-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"


def _unpack(folder: Path) -> None:
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-config"]
    subprocess.run([*command, f"--python={sys.executable}", f"--target={folder / 'wheel'}", "-r", LOCK], check=True)
    (package,) = (folder / "wheel").glob("aws_cdk/*/_jsii/*.tgz")
    with tarfile.open(package) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        content = io.BytesIO(layer.read())
    (folder / "tools").mkdir()
    with ZipFile(content) as archive:
        for name in ("helm", "kubectl"):
            path = folder / "tools" / name
            path.write_bytes(archive.read(f"{name}/{name}"))
            path.chmod(0o755)


if __name__ == "__main__":
    fetch()
