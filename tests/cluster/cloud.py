"""The shipped project on a cloud of a test's own: moto for AWS, the engine's state in a folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3

PROJECT = Path(__file__).parents[2]
FAULTS = "MODELYARD_STANDIN_FAULTS"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


class Project:
    """A copy of the shipped stacks beside the shipped program or another one, in which commands are typed."""

    def __init__(self, root: Path, program: str = "") -> None:
        self.root = root
        root.mkdir()
        shutil.copy(PROJECT / "Pulumi.yaml", root)
        shutil.copytree(PROJECT / "stacks", root / "stacks")
        if program:
            (root / "infra").mkdir()
            (root / "infra" / "__main__.py").write_text(program)
        else:
            (root / "infra").symlink_to(PROJECT / "infra")

    def initialise(self, *stacks: str) -> None:
        for stack in stacks:
            subprocess.run(["pulumi", "stack", "init", stack], cwd=self.root, check=True, capture_output=True)

    def start(self, *words: str, faults: list[dict[str, Any]] | None = None) -> subprocess.Popen[str]:
        """Type a `modelyard env` command; it has a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from modelyard.cli import main; main()", "env", *words],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(PROJECT), FAULTS: json.dumps(faults or [])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def env(self, *words: str, faults: list[dict[str, Any]] | None = None) -> Said:
        """Type one and wait for it."""
        process = self.start(*words, faults=faults)
        out, err = process.communicate(timeout=300)
        return Said(process.returncode, out, err)

    def change(self, stack: str, old: str, new: str) -> None:
        file = self.root / "stacks" / f"Pulumi.{stack}.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def deployment(self, stack: str) -> dict[str, Any]:
        """The checkpoint."""
        told = subprocess.run(
            ["pulumi", "stack", "export", "--stack", stack], cwd=self.root, check=True, capture_output=True, text=True
        )
        return dict(json.loads(told.stdout)["deployment"])

    def ids(self, *stacks: str) -> Counter[tuple[str, str]]:
        """Type and id of what the states hold."""
        return Counter(
            (resource["type"], resource["id"])
            for stack in stacks
            for resource in self.deployment(stack).get("resources", [])
            if resource["type"].startswith("aws:")
        )


@contextmanager
def moto(folder: Path, *, managed_policies: bool = False) -> Iterator[str]:
    """An AWS of one's own on a free port; its address. IAM's managed policies take seconds to load."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "moto.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(port)],
            env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": str(managed_policies).lower()},
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(url))
        yield url
    finally:
        server.kill()
        server.wait()


def there(kept: Path) -> Counter[tuple[str, str]]:
    """Type and id of what really is there: in moto, of the types that cost most or that AWS names itself; and kept."""
    ec2, kms, iam, rds = (boto3.client(name) for name in ("ec2", "kms", "iam", "rds"))
    found: list[tuple[str, list[str]]] = []

    def add(kind: str, entries: list[dict[str, Any]], key: str) -> None:
        found.append((kind, [entry[key] for entry in entries]))

    vpcs = [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
    ours = {vpc["VpcId"] for vpc in vpcs}
    add("aws:ec2/vpc:Vpc", vpcs, "VpcId")
    add("aws:ec2/subnet:Subnet", [one for one in ec2.describe_subnets()["Subnets"] if one["VpcId"] in ours], "SubnetId")
    tables = [
        table
        for table in ec2.describe_route_tables()["RouteTables"]
        if table["VpcId"] in ours and not any(one.get("Main") for one in table["Associations"])
    ]
    add("aws:ec2/routeTable:RouteTable", tables, "RouteTableId")
    groups = [one for one in ec2.describe_security_groups()["SecurityGroups"] if one.get("VpcId") in ours]
    add(
        "aws:ec2/securityGroup:SecurityGroup",
        [one for one in groups if one["GroupName"] != "default"],
        "GroupId",
    )
    add(
        "aws:ec2/internetGateway:InternetGateway",
        ec2.describe_internet_gateways()["InternetGateways"],
        "InternetGatewayId",
    )
    gateways = [one for one in ec2.describe_nat_gateways()["NatGateways"] if one["State"] != "deleted"]
    add("aws:ec2/natGateway:NatGateway", gateways, "NatGatewayId")
    add("aws:ec2/eip:Eip", ec2.describe_addresses()["Addresses"], "AllocationId")
    endpoints = [one for one in ec2.describe_vpc_endpoints()["VpcEndpoints"] if one["State"] != "deleted"]
    add("aws:ec2/vpcEndpoint:VpcEndpoint", endpoints, "VpcEndpointId")
    add("aws:ec2/launchTemplate:LaunchTemplate", ec2.describe_launch_templates()["LaunchTemplates"], "LaunchTemplateId")
    keys = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in kms.list_keys(Limit=1000)["Keys"]]
    customers = [one for one in keys if one["KeyState"] == "Enabled" and one["KeyManager"] == "CUSTOMER"]
    add("aws:kms/key:Key", customers, "KeyId")
    add("aws:s3/bucket:Bucket", boto3.client("s3").list_buckets()["Buckets"], "Name")
    add("aws:iam/role:Role", [one for one in iam.list_roles()["Roles"] if one["Path"] == "/"], "RoleName")
    add("aws:iam/policy:Policy", iam.list_policies(Scope="Local")["Policies"], "Arn")
    add("aws:rds/instance:Instance", rds.describe_db_instances()["DBInstances"], "DBInstanceIdentifier")
    found.append(("aws:sqs/queue:Queue", boto3.client("sqs").list_queues().get("QueueUrls", [])))
    found.append(("aws:eks/cluster:Cluster", boto3.client("eks").list_clusters()["clusters"]))
    for file in kept.glob("*.json"):
        one = json.loads(file.read_text())
        found.append((one["type"], [one["id"]]))
    return Counter((kind, identity) for kind, ids in found for identity in ids)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL for a command and for all that it started, as when a machine loses its power."""
    for pid in sorted(_below(process.pid) | {process.pid}):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


def _below(pid: int) -> set[int]:
    """The processes that a process has started, and those that these have started."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = {int(word) for word in task.read_text().split()}
        except OSError:
            continue
        found |= children.union(*map(_below, children))
    return found


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def until(done: Callable[[], bool]) -> None:
    """Wait for something that has to happen."""
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "it doesn't happen"
        time.sleep(0.02)
