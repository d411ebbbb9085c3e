"""Resources that no AWS stands behind here: they are kept in files, one each, with outputs of the right form."""

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

from modelyard.plan.outputs import Place, made
from tests.cluster.standins.aws.api import PLACEHOLDER, filled
from tests.cluster.standins.serve import RefusedError, Urn

IDS = {
    "aws:eks/accessEntry:AccessEntry": "{clusterName}:{principalArn}",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "{clusterName}#{principalArn}#{policyArn}",
    "aws:eks/addon:Addon": "{clusterName}:{addonName}",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "{repository}",
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": "{ecrRepositoryPrefix}",
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": "{prefix}",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "{repository}",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "{fileSystemId}",
    "aws:guardduty/detectorFeature:DetectorFeature": "{detectorId}/{name}",
    "aws:accessanalyzer/analyzer:Analyzer": "{analyzerName}",
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": "{backupVaultName}",
    "aws:budgets/budget:Budget": "{accountId}:{name}",
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock": "{accountId}",
    # moto 5.2.5 fails on a log bucket's policy whose principal is a text
    "aws:s3/bucketLogging:BucketLogging": "{bucket}",
    "aws:sns/topicPolicy:TopicPolicy": "{arn}",
}
"""What an id is made of."""
DRAWN = {
    "aws:backup/plan:Plan": "",
    "aws:backup/selection:Selection": "",
    "aws:ec2/flowLog:FlowLog": "fl-",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "a-",
    "aws:efs/fileSystem:FileSystem": "fs-",
    "aws:efs/mountTarget:MountTarget": "fsmt-",
    "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation": "dra-",
    "aws:fsx/lustreFileSystem:LustreFileSystem": "fs-",
    "aws:guardduty/detector:Detector": "",
}
"""Where AWS draws an id by lot: what it begins with."""


class Kept:
    """The files, in one folder that outlives the stand-in."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place = folder, place

    def create(self, urn: Urn, inputs: dict[str, Any]) -> str:
        """Keep a new one and return its id. Raises `RefusedError` where there is one of that id."""
        drawn = f"{DRAWN.get(urn.type, urn.name + '-')}{secrets.token_hex(8)[:17]}"
        by_lot = urn.type in DRAWN or not any(isinstance(inputs.get(key), str) for key in ("name", "bucket"))
        answer = made(urn.type, drawn, {} if by_lot else inputs, self.place)
        id_ = filled(IDS[urn.type], inputs) if urn.type in IDS else drawn if by_lot and urn.type in DRAWN else answer.id
        if PLACEHOLDER.search(id_):
            raise RefusedError(f"its id would be {id_!r}, and not all of that is known")
        file = self.file(urn.type, id_)
        if file.exists():
            raise RefusedError(f"{id_} exists already")
        outputs = {key: value for key, value in answer.outputs.items() if key != "tagsAll"}
        self._keep(file, {"type": urn.type, "id": id_, "inputs": inputs, "outputs": outputs})
        return id_

    def read(self, type_: str, id_: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Inputs and outputs; None if it isn't there."""
        file = self.file(type_, id_)
        if not file.exists():
            return None
        kept = json.loads(file.read_text(encoding="utf-8"))
        return kept["inputs"], {**kept["outputs"], **kept["inputs"]}

    def update(self, type_: str, id_: str, inputs: dict[str, Any]) -> None:
        """Change its inputs."""
        file = self.file(type_, id_)
        if not file.exists():
            raise RefusedError(f"there is no {id_}")
        self._keep(file, {**json.loads(file.read_text(encoding="utf-8")), "inputs": inputs})

    def delete(self, type_: str, id_: str) -> None:
        """Forget it."""
        self.file(type_, id_).unlink(missing_ok=True)

    def file(self, type_: str, id_: str) -> Path:
        """Where it is kept."""
        digest = hashlib.sha256(id_.encode()).hexdigest()[:16]
        return self.folder / f"{type_.rpartition(':')[2]}-{digest}.json"

    def _keep(self, file: Path, content: dict[str, Any]) -> None:
        part = file.with_suffix(f".{secrets.token_hex(4)}.part")
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
        part.replace(file)
