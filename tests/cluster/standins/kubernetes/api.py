"""What the stand-in for the Kubernetes provider says to an API server."""

import base64
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.standins.serve import RefusedError

MANAGER = "pulumi-kubernetes"
"""Who owns the fields that are applied."""
GONE = 404
CONFLICT = 409
PATIENCE = 60.0
"""Seconds that a single request may take."""


class AnswerError(RefusedError):
    """The API server's answer is no."""

    def __init__(self, code: int, reason: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.code = code
        self.fields = fields
        """Those that it has something against."""


@dataclass(frozen=True)
class Kind:
    """How a kind is addressed."""

    plural: str
    namespaced: bool


@dataclass(frozen=True)
class Access:
    """One context of a kubeconfig."""

    server: str
    token: str
    trusts: ssl.SSLContext
    namespace: str
    kubeconfig: dict[str, Any]
    """What helm is given: the same context alone."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Access":
        """What the provider's settings say: a kubeconfig's text or path, or the one that KUBECONFIG names."""
        given = settings.get("kubeconfig") or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        config = yaml.safe_load(given if "\n" in given or given.startswith("{") else Path(given).read_text("utf-8"))
        chosen = settings.get("context") or config.get("current-context")
        context = _named(config, "context", chosen)
        cluster, user = _named(config, "cluster", context["cluster"]), _named(config, "user", context["user"])
        if "token" not in user:
            raise RefusedError(
                f"user {context['user']} of the kubeconfig has no token, and the stand-in takes no other"
            )
        authority = cluster.get("certificate-authority-data")
        trusts = ssl.create_default_context(
            cafile=cluster.get("certificate-authority"),
            cadata=base64.b64decode(authority).decode() if authority else None,
        )
        namespace = settings.get("namespace") or context.get("namespace") or "default"
        alone = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "one", "cluster": cluster}],
            "users": [{"name": "one", "user": user}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "current-context": "one",
        }
        return cls(cluster["server"], user["token"], trusts, namespace, alone)


class Api:
    """Objects of a cluster."""

    def __init__(self, access: Access) -> None:
        self.namespace = access.namespace
        self.kubeconfig = access.kubeconfig
        self._http = httpx.Client(
            base_url=access.server,
            headers={"Authorization": f"Bearer {access.token}"},
            verify=access.trusts,
            timeout=PATIENCE,
            trust_env=False,
        )
        self._kinds: dict[tuple[str, str], Kind] = {}

    def kind(self, api_version: str, kind: str) -> Kind | None:
        """How the API server addresses a kind; None if it doesn't know it."""
        if (api_version, kind) not in self._kinds:
            answer = self._http.get(_root(api_version))
            for one in answer.json()["resources"] if answer.is_success else ():
                if "/" not in one["name"]:
                    self._kinds[api_version, one["kind"]] = Kind(one["name"], one["namespaced"])
        return self._kinds.get((api_version, kind))

    def capabilities(self) -> tuple[str, list[str]]:
        """The server's version, and the versions of the groups that it has."""
        groups = self._ask("GET", "/apis")["groups"]
        versions = [version["groupVersion"] for group in groups for version in group["versions"]]
        return str(self._ask("GET", "/version")["gitVersion"]), ["v1", *versions]

    def apply(self, wanted: Mapping[str, Any], *, force: bool, dry: bool = False) -> dict[str, Any]:
        """Apply it on the server's side; fields that the schema doesn't have are refused."""
        asked = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
        return self._ask(
            "PATCH",
            self._path(wanted),
            params={**asked, **({"dryRun": "All"} if dry else {})},
            content=json.dumps(wanted),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def get(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """It as it is, by kind and name."""
        try:
            return self._ask("GET", self._path(wanted))
        except AnswerError as error:
            if error.code == GONE:
                return None
            raise

    def matching(self, api_version: str, kind: str, namespace: str, labels: str) -> list[dict[str, Any]]:
        """All of a kind with such labels."""
        one = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "", "namespace": namespace}}
        return list(self._ask("GET", self._path(one).rstrip("/"), params={"labelSelector": labels})["items"])

    def delete(self, wanted: Mapping[str, Any], propagation: str) -> None:
        """Ask for its end."""
        try:
            self._ask("DELETE", self._path(wanted), params={"propagationPolicy": propagation})
        except AnswerError as error:
            if error.code != GONE:
                raise

    def _path(self, wanted: Mapping[str, Any]) -> str:
        kind = self.kind(wanted["apiVersion"], wanted["kind"])
        if kind is None:
            raise AnswerError(GONE, f"the cluster has no kind {wanted['kind']} of {wanted['apiVersion']}")
        about = wanted["metadata"]
        within = f"/namespaces/{about.get('namespace') or self.namespace}" if kind.namespaced else ""
        return f"{_root(wanted['apiVersion'])}{within}/{kind.plural}/{about['name']}"

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise RefusedError(f"the API server at {self._http.base_url} doesn't answer: {error}") from error
        if answer.is_success:
            return dict(answer.json())
        status = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        causes = (status.get("details") or {}).get("causes") or ()
        raise AnswerError(
            answer.status_code,
            f"the API server refuses it: {' '.join(str(status.get('message', answer.text)).split())}",
            tuple(cause["field"] for cause in causes if "field" in cause),
        )


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _named(config: Mapping[str, Any], what: str, name: str | None) -> dict[str, Any]:
    for entry in config.get(f"{what}s") or ():
        if entry["name"] == name:
            return dict(entry[what])
    raise RefusedError(f"the kubeconfig has no {what} {name}")
