"""The stand-in for pulumi-resource-aws."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from modelyard.plan.imports import by_need
from modelyard.plan.outputs import made, place_of_provider
from modelyard.plan.outputs import place as default_place
from tests.cluster.standins.aws import ec2, s3, services
from tests.cluster.standins.aws.api import Api, Kind
from tests.cluster.standins.aws.kept import IDS, Kept
from tests.cluster.standins.aws.schema import refuse, schema
from tests.cluster.standins.serve import (
    UNKNOWN,
    Diff,
    Live,
    RefusedError,
    StandIn,
    UnfinishedError,
    Urn,
    changes,
    has_unknown,
    serve,
)

KINDS: dict[str, Kind] = {**ec2.KINDS, **s3.KINDS, **services.KINDS}
KEPT = "MODELYARD_STANDIN_AWS"
"""The folder in which the rest is kept."""
LONGEST_NAME = 255
REPLACED = {
    "aws:backup/vault:Vault": ("kmsKeyArn", "name"),
    "aws:ecr/repository:Repository": ("encryptionConfigurations", "name"),
    "aws:efs/fileSystem:FileSystem": ("encrypted", "kmsKeyId"),
    "aws:fsx/lustreFileSystem:LustreFileSystem": ("deploymentType", "kmsKeyId", "storageType", "subnetIds"),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": ("clusterName", "namespace", "serviceAccount"),
}
"""Of what is kept, beside what the id is made of: CloudFormation's "Update requires: Replacement", by the resource
reference of each type. What is really made is replaced where no call in its row changes a property."""
CHANGING = {"aws:ec2/launchTemplate:LaunchTemplate": ("latestVersion",)}
"""Outputs that an update in place makes new."""


class Aws(StandIn):
    """Checks by the SDK's classes; makes resources in moto where `KINDS` has a row for their type."""

    package = "aws"
    version = f"{metadata.version('pulumi_aws')}+standin"

    def configure(self, settings: dict[str, Any]) -> None:
        self.place = place_of_provider(settings, default_place({}))
        account = boto3.client("sts", region_name=self.place.region).get_caller_identity()["Account"]
        allowed = _decoded(settings.get("allowedAccountIds")) or [account]
        if account not in allowed:
            raise RefusedError(f"this is account {account}, and only {', '.join(allowed)} is allowed")
        self.default_tags = (_decoded(settings.get("defaultTags")) or {}).get("tags") or {}
        self.api = Api(self.place.region, account)
        folder = Path(os.environ[KEPT])
        folder.mkdir(parents=True, exist_ok=True)
        self.kept = Kept(folder, self.place)

    def check(self, urn: Urn, old: dict[str, Any], new: dict[str, Any], seed: bytes) -> dict[str, Any]:
        refuse(urn.type, new)
        inputs = {key: value for key, value in new.items() if value is not None}
        known = schema(urn.type)
        if "name" in known.inputs and "name" not in inputs and not inputs.get("namePrefix"):
            before = old.get("name")
            drawn = hashlib.sha256(seed + urn.text.encode()).hexdigest()[:7]
            inputs["name"] = before or f"{urn.name[: LONGEST_NAME - 8]}-{drawn}"
        if known.taggable:
            tags = inputs.get("tags", {})
            inputs["tagsAll"] = UNKNOWN if has_unknown(tags) else {**self.default_tags, **tags}
        return inputs

    def diff(self, urn: Urn, id_: str, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any]) -> Diff:
        found = changes(old, new, lambda name: not self._in_place(urn.type, name))
        replaced = any(change.replace for change in found.values())
        drawn = str(new.get("name", "")).startswith(f"{urn.name}-")
        return Diff(found, delete_first=replaced and not drawn)

    def create(self, urn: Urn, inputs: dict[str, Any], preview: bool) -> Live:
        if preview:
            unknown = dict.fromkeys(schema(urn.type).outputs - set(inputs), UNKNOWN)
            return Live("", {**unknown, **inputs})
        kind = KINDS.get(urn.type)
        if kind is None:
            id_ = self.kept.create(urn, inputs)
        else:
            id_ = _said(lambda: self.api.create(urn.type, kind, inputs))
            try:
                _said(lambda: self.api.finish(urn.type, kind, id_, inputs))
            except RefusedError as error:
                raise UnfinishedError(Live(id_, inputs), str(error)) from error
        return Live(id_, self._state(urn.type, id_, inputs))

    def update(
        self, urn: Urn, id_: str, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any], preview: bool
    ) -> dict[str, Any]:
        if preview:
            computed = {key: value for key, value in state.items() if key not in old}
            return {**computed, **new, **dict.fromkeys(CHANGING.get(urn.type, ()), UNKNOWN)}
        kind = KINDS.get(urn.type)
        if kind is None:
            self.kept.update(urn.type, id_, new)
        else:
            _said(lambda: self.api.update(urn.type, kind, id_, old, new))
        return self._state(urn.type, id_, new)

    def read(self, urn: Urn, id_: str, inputs: dict[str, Any], state: dict[str, Any]) -> Live | None:
        live = _said(lambda: self._live(urn.type, id_, state))
        if live is None:
            return None
        known = schema(urn.type)
        if not inputs:
            return Live(id_, live, {key: value for key, value in live.items() if key in known.inputs})
        now = projected(inputs, live)
        if known.taggable and "tagsAll" in live:
            now["tagsAll"] = live["tagsAll"]
            own = {
                k: v for k, v in live["tagsAll"].items() if k in inputs.get("tags", {}) or self.default_tags.get(k) != v
            }
            now |= {"tags": own} if own or "tags" in inputs else {}
        return Live(id_, _overlaid({**state, **live}, now), now)

    def delete(self, urn: Urn, id_: str, inputs: dict[str, Any], state: dict[str, Any]) -> None:
        kind = KINDS.get(urn.type)
        if kind is None:
            self.kept.delete(urn.type, id_)
        else:
            _said(lambda: self.api.delete(kind, id_, {**state, **inputs}))

    def _in_place(self, type_: str, name: str) -> bool:
        kind = KINDS.get(type_)
        if kind is None:
            return name not in REPLACED.get(type_, ()) and f"{{{name}}}" not in IDS.get(type_, "{name}")
        return self.api.in_place(kind, name)

    def _live(self, type_: str, id_: str, known: Mapping[str, Any]) -> dict[str, Any] | None:
        kind = KINDS.get(type_)
        if kind is None:
            kept = self.kept.read(type_, id_)
            return kept and kept[1]
        live = self.api.read(type_, kind, id_, known)
        if live is None:
            return None
        if "tags" in live and schema(type_).taggable:
            live["tagsAll"] = live["tags"]
        if "arn" in schema(type_).outputs and "arn" not in schema(type_).inputs and not live.get("arn"):
            live["arn"] = made(type_, id_, {}, self.place).outputs["arn"]
        return live

    def _state(self, type_: str, id_: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the engine remembers: AWS's answer, in the words of the inputs where it says the same."""
        live = _said(lambda: self._live(type_, id_, inputs)) or {}
        return _overlaid(live, inputs)


def projected(old: Any, live: Any) -> Any:
    """What is live, as far as `old` speaks of it, and in its words and order where they mean the same."""
    if isinstance(old, dict) and isinstance(live, dict):
        whole = {"tags", "tagsAll", "labels"}
        return {k: live[k] if k in whole and k in live else projected(v, live.get(k)) for k, v in old.items()}
    if live is None:
        return old
    if isinstance(old, list) and isinstance(live, list):
        rest, same = list(live), []
        for one in old:
            if (found := next((other for other in rest if projected(one, other) == one), None)) is not None:
                rest.remove(found)
                same.append(one)
        return [*same, *map(_said_of, rest)]
    return old if _meaning(old) == _meaning(live) else live


def _said_of(value: Any) -> Any:
    """What AWS says of an element, without what it leaves open."""
    return {k: v for k, v in value.items() if v not in (None, [])} if isinstance(value, dict) else value


def _meaning(value: Any) -> Any:
    """A JSON document whatever its spacing and order, and numbers as texts."""
    if not isinstance(value, str):
        return value if isinstance(value, bool | dict | list) else str(value)
    try:
        return json.loads(value) if value.startswith(("{", "[")) else value
    except ValueError:
        return value


def _overlaid(live: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    both = {key for key in inputs if isinstance(inputs[key], dict) and isinstance(live.get(key), dict)}
    return {**live, **inputs, **{key: _overlaid(live[key], inputs[key]) for key in both - {"tags", "tagsAll"}}}


def _said(call: Callable[[], Any]) -> Any:
    """What AWS refuses, in one sentence."""
    try:
        return call()
    except ClientError as error:
        about = error.response["Error"]
        raise RefusedError(f"{error.operation_name} answered {about['Code']}: {about['Message']}") from error


def _decoded(value: Any) -> Any:
    """Providers get lists and objects as JSON."""
    return json.loads(value) if isinstance(value, str) else value


def main() -> None:
    """What the engine starts."""
    by_need()
    serve(Aws())
