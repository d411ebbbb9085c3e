"""What the README tells people to type is typed here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
]
SLOWEST = 90


def test_every_make_target_in_the_readme_is_there():
    named = set(re.findall(r"`?make ([a-z]+)", "\n".join([*COMMANDS, *re.findall(r"`make [a-z]+`", README)])))
    assert {"demo", "test", "check", "lock"} <= named
    for target in named:
        subprocess.run(["make", "--dry-run", target], cwd=PROJECT, check=True, capture_output=True)


@pytest.mark.timeout(10 * SLOWEST)
def test_the_readmes_commands_work_one_after_the_other(tmp_path):
    for name in ("data", "infra"):
        (tmp_path / name).symlink_to(PROJECT / name)  # and what a command writes is not in the repository
    shutil.copytree(PROJECT / "stacks", tmp_path / "stacks")
    shutil.copy(PROJECT / "Pulumi.yaml", tmp_path)
    places = {"XDG_DATA_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    commands = [command for command in COMMANDS if command.startswith("modelyard ")]
    assert len(commands) == 15
    try:
        for command in commands:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env={**os.environ, **places, "PATH": path},
                capture_output=True,
                text=True,
                timeout=SLOWEST,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr, command
    finally:
        subprocess.run(["sh", "-c", "modelyard runner stop"], env={**os.environ, **places, "PATH": path}, check=False)


def test_every_file_that_the_documents_link_to_is_there():
    for document in [
        PROJECT / "README.md",
        *sorted((PROJECT / "docs").glob("*.md")),
        *(PROJECT / "data").rglob("*.md"),
    ]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
