"""A Kubernetes control plane with KWOK nodes: real programs on free ports of loopback, in a folder of its own."""

import json
import os
import random
import secrets
import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cluster.build import binary, published

ENDS_WITHIN = 5.0
PORTS = range(20_000, 30_000)
"""Below those that Linux gives to connections and to whoever asks for port 0, so that nobody comes in between."""
QUICK = ("--kube-api-qps=1000", "--kube-api-burst=1000")


class PlaneError(Exception):
    """The control plane doesn't start, or has ended; the message says which program and where its log is."""


class Plane:
    """A control plane that is up within `with`; its programs end with it, also when it is killed.

    In its folder are a log of each program, and while it is up its `kubeconfig` and `data`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self._data = folder / "data"
        self.token = secrets.token_hex(16)
        self.url = ""
        self.seconds = 0.0
        """From the start to ready."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._claims: list[socket.socket] = []

    def __enter__(self) -> Self:
        began = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        self.seconds = time.monotonic() - began
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self) -> httpx.Client:
        """HTTP to the API server as its administrator."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            verify=ssl.create_default_context(cafile=str(self._certificate)),
            timeout=30,
            trust_env=False,
        )

    def port(self) -> int:
        """A free port, which no other control plane takes before this one has ended."""
        for port in random.sample(PORTS, len(PORTS)):
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0modelyard-port-{port}")
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
            self._claims.append(claim)
            return port
        raise PlaneError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free on 127.0.0.1")

    def start(self, name: str, command: list[str | Path]) -> None:
        """Start a program that ends with the thread that calls this, whichever way that goes."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
                start_new_session=True,  # Ctrl-C is for us alone
            )

    def until(self, what: str, holds: Callable[[], bool], within: float = 60.0, every: float = 0.05) -> None:
        """Ask until it holds, seconds apart. Raises PlaneError when a program ends meanwhile, or after so many."""
        latest = time.monotonic() + within
        while not holds():
            self._check()
            if time.monotonic() > latest:
                raise PlaneError(f"{what} is not ready after {within:.0f} s; logs are in {self.folder}")
            time.sleep(every)

    def wait(self) -> None:
        """Sleep until a program ends, which is an error."""
        watched = [os.pidfd_open(process.pid) for process in self.processes.values()]
        try:
            select.select(watched, [], [])
        finally:
            for descriptor in watched:
                os.close(descriptor)
        self._check()

    def stop(self) -> None:
        """End every program, and leave only the logs."""
        for process in reversed(self.processes.values()):  # the API server says goodbye to etcd
            process.terminate()
            try:
                process.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        for claim in self._claims:
            claim.close()
        self._claims.clear()
        shutil.rmtree(self._data, ignore_errors=True)
        self.kubeconfig.unlink(missing_ok=True)

    @property
    def _certificate(self) -> Path:
        return self._data / "certificates" / "apiserver.crt"

    def _start(self) -> None:
        etcd, kube, kwok = binary("etcd"), binary("kube"), binary("kwok")
        self._write_keys()
        store, peer, port = (self.port() for _ in range(3))
        self.url = f"https://127.0.0.1:{port}"
        self._write_kubeconfig()
        self.start(
            "etcd",
            [
                *(etcd, "--data-dir", self._data / "etcd", "--unsafe-no-fsync"),
                *("--listen-client-urls", f"http://127.0.0.1:{store}"),
                *("--advertise-client-urls", f"http://127.0.0.1:{store}"),
                *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
            ],
        )
        self.start(
            "kube-apiserver",
            [
                *(kube, "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{store}"),
                *(f"--secure-port={port}", "--bind-address=127.0.0.1", f"--cert-dir={self._certificate.parent}"),
                *("--authorization-mode=RBAC", f"--token-auth-file={self._data / 'tokens.csv'}"),
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self._data / 'accounts.pub'}",
                f"--service-account-signing-key-file={self._data / 'accounts.key'}",
                *("--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true"),
            ],
        )
        self.until("kube-apiserver", lambda: self._answers(port, "/readyz"))
        controllers, scheduler = self.port(), self.port()
        common = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1", *QUICK]
        self.start(
            "kube-controller-manager",
            [
                kube,
                "kube-controller-manager",
                *common,
                f"--secure-port={controllers}",
                f"--service-account-private-key-file={self._data / 'accounts.key'}",
                f"--root-ca-file={self._certificate}",
                *("--use-service-account-credentials=true", "--node-monitor-grace-period=300s"),
            ],
        )
        self.start("kube-scheduler", [kube, "kube-scheduler", *common, f"--secure-port={scheduler}"])
        stage = published("kwok") / "kustomize" / "stage"
        stages = [
            stage / "pod" / "fast" / "pod-ready.yaml",
            stage / "pod" / "fast" / "pod-delete.yaml",
            stage / "node" / "fast" / "node-initialize.yaml",
            Path(__file__).with_name("stages.yaml"),
        ]
        self.start(
            "kwok",
            [
                *(kwok, f"--kubeconfig={self.kubeconfig}", "--manage-all-nodes"),
                "--node-lease-duration-seconds=200",  # so that a thousand of them leave time for other work
                *(f"--config={stage}" for stage in stages),
            ],
        )
        self.until("kube-controller-manager", lambda: self._answers(controllers, "/healthz"))
        self.until("kube-scheduler", lambda: self._answers(scheduler, "/readyz"))
        with self.client() as client:
            account = "/api/v1/namespaces/default/serviceaccounts/default"  # what every pod needs
            self.until("the default service account", lambda: client.get(account).is_success)

    def _write_keys(self) -> None:
        self._data.mkdir(parents=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
        public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        _write(self._data / "accounts.key", key.private_bytes(*form, serialization.NoEncryption()))
        _write(self._data / "accounts.pub", key.public_key().public_bytes(*public))
        _write(self._data / "tokens.csv", f"{self.token},admin,admin,system:masters\n".encode())

    def _write_kubeconfig(self) -> None:
        cluster = {"server": self.url, "certificate-authority": str(self._certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        _write(self.kubeconfig, json.dumps(config, indent=2).encode())

    def _check(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = self.folder / f"{name}.log"
                lines = log.read_text(errors="replace").split("\n")
                last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
                raise PlaneError(f"{name} ended with {process.returncode}: {last[:300]} (its log: {log})")

    def _answers(self, port: int, path: str) -> bool:
        try:
            # each program makes its own certificate, and only after this answers is there one to trust
            return httpx.get(f"https://127.0.0.1:{port}{path}", verify=False, trust_env=False).is_success
        except httpx.HTTPError:
            return False


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
