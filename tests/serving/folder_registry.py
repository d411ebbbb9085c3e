"""A registry in a folder, for tests: NAME/VERSION/model.onnx with its digest beside it, and NAME/champion.

As a program it is the model server over such a folder.
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from modelyard.serving.__main__ import main


@dataclass(frozen=True)
class FolderVersion:
    """A version in the folder."""

    name: str
    version: str
    digest: str


class FolderRegistry:
    """What the server needs of a registry, and what a test does to one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def models(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def champion(self, name: str) -> FolderVersion | None:
        file = self.folder / name / "champion"
        return self.get(name, file.read_text()) if file.exists() else None

    def get(self, name: str, version: str) -> FolderVersion:
        digest = self.file(name, version).with_name("digest")
        if not digest.is_file():
            raise ValueError(f"model {name!r} has no version {version!r}")
        return FolderVersion(name, version, digest.read_text())

    def model_bytes(self, version: FolderVersion) -> bytes:
        return self.file(version.name, version.version).read_bytes()

    def file(self, name: str, version: str) -> Path:
        return self.folder / name / version / "model.onnx"

    def add(self, name: str, version: str, content: bytes, *, champion: bool = True) -> Path:
        """Register a version; its file."""
        file = self.file(name, version)
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        file.with_name("digest").write_text(f"sha256:{hashlib.sha256(content).hexdigest()}")
        if champion:
            (self.folder / name / "champion").write_text(version)
        return file


if __name__ == "__main__":
    sys.exit(main(connect=FolderRegistry))
