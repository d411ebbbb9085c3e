"""What all settings share: the base model and the types of their values."""

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of everything that a file in stacks/ may hold: frozen, and a misspelled key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Security(StrEnum):
    """How closed an environment is; docs/environments.md has what each one decides."""

    STANDARD = "standard"
    HARDENED = "hardened"

    @property
    def hardened(self) -> bool:
        """Whether it is the closed one."""
        return self is Security.HARDENED

    @property
    def log_days(self) -> int:
        """For how long logs in CloudWatch are kept: a time that CloudWatch offers, a year for Checkov's CKV_AWS_338."""
        return 731 if self.hardened else 365


class Lifetime(StrEnum):
    """Whether an environment may be destroyed to nothing; docs/environments.md has what each one decides."""

    THROWAWAY = "throwaway"
    DURABLE = "durable"

    @property
    def durable(self) -> bool:
        """Whether what holds data is kept."""
        return self is Lifetime.DURABLE

    @property
    def key_deletion_days(self) -> int:
        """How long a KMS key is pending deletion: the shortest and the longest that KMS allows."""
        return 30 if self.durable else 7


class Rung(StrEnum):
    """A kind of EC2 capacity."""

    RESERVED = "reserved"
    ON_DEMAND = "on-demand"
    SPOT = "spot"


def _private_range(text: str) -> str:
    network = _network(text)
    if not any(network.subnet_of(ipaddress.IPv4Network(private)) for private in PRIVATE_RANGES):
        raise ValueError(f"a VPC here is private: a range within {', '.join(PRIVATE_RANGES)}")
    if not 16 <= network.prefixlen <= 20:
        why = "large for AWS" if network.prefixlen < 16 else "small for the subnets of nodes"
        raise ValueError(f"/{network.prefixlen} is too {why}; /16 to /20 is allowed")
    return text


def _allowed_source(text: str) -> str:
    network = _network(text)
    if network.prefixlen < 16:
        raise ValueError(f"{text} lets in too much of the internet; list your offices and VPN, each /16 or longer")
    if any(network.overlaps(ipaddress.IPv4Network(private)) for private in PRIVATE_RANGES):
        raise ValueError(f"{text} is no public range; the API server sees the public address that you come from")
    return text


def _any_range(text: str) -> str:
    _network(text)
    return text


def _network(text: str) -> ipaddress.IPv4Network:
    form = "an IPv4 range with its prefix, like 10.40.0.0/16"
    if not re.fullmatch(r"\d+(\.\d+){3}/\d+", text):
        raise ValueError(f"it isn't {form}")
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        try:
            meant = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise ValueError(f"it isn't {form}") from error
        raise ValueError(f"it has bits beyond its prefix; {meant} is the range that it lies in") from error


PRIVATE_RANGES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""RFC 1918."""

FORMS: dict[str, str] = {}
"""What the patterns of texts mean, in words for messages."""


def _text(pattern: str, words: str, most: int = 2048) -> Any:
    FORMS[pattern] = words
    return Field(pattern=pattern, max_length=most, description=words)


AccountId = Annotated[str, _text(r"^\d{12}$", "the 12 digits of an AWS account")]
Arn = Annotated[str, _text(r"^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:\d{12}:.+$", "an ARN like arn:aws:…")]
CostCenter = Annotated[str, _text(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "one word of letters, digits, . _ and -", 63)]
DatabaseClass = Annotated[str, _text(r"^db\.[a-z0-9]+\.[a-z0-9]+$", "an RDS instance class like db.m7g.large")]
Email = Annotated[str, _text(r"^[^@\s<>\"']+@[^@\s<>\"']+\.[A-Za-z]{2,}$", "an e-mail address", 254)]
InstanceTypeName = Annotated[str, _text(r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$", "an EC2 instance type like m7i.large")]
Label = Annotated[
    str,
    _text(
        r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
        "a Kubernetes label's key like example.com/part",
    ),
]
LabelValue = Annotated[str, _text(r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$", "a Kubernetes label's value")]
ProfileName = Annotated[
    str, _text(r"^[a-z][a-z0-9-]{0,28}[a-z0-9]$", "a profile's name: 2 to 30 lower-case letters, digits and hyphens")
]
Range = Annotated[str, AfterValidator(_any_range)]
RegionName = Annotated[str, _text(r"^[a-z]{2}(-[a-z]+)+-\d$", "a region like us-east-1")]
RepositoryName = Annotated[
    str, _text(r"^[a-z0-9]+([._/-][a-z0-9]+)*$", "a repository's name: lower-case words with . _ - or / between", 200)
]
ReservationId = Annotated[str, _text(r"^cr-[0-9a-f]{8,17}$", "a capacity reservation's id, cr- and hexadecimal digits")]
RoleArn = Annotated[
    str, _text(r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$", "an IAM role's ARN, arn:aws:iam::…:role/…")
]
SourceRange = Annotated[str, AfterValidator(_allowed_source)]
StackName = Annotated[str, _text(r"^[a-z][a-z0-9-]*$", "a name: lower-case letters, digits and hyphens", 40)]
SubnetId = Annotated[str, _text(r"^subnet-[0-9a-f]{8,17}$", "a subnet's id, subnet- and hexadecimal digits")]
VpcId = Annotated[str, _text(r"^vpc-[0-9a-f]{8,17}$", "a VPC's id, vpc- and hexadecimal digits")]
VpcRange = Annotated[str, AfterValidator(_private_range)]
ZoneId = Annotated[str, _text(r"^[a-z]{2,4}\d-[a-z0-9-]*az\d+$", "a zone's id like use1-az1; names differ by account")]

SLUG = re.compile(r"(?!account|.*--|.*-team$)[a-z][a-z0-9-]{0,18}[a-z0-9]")
"""An environment's name: it starts the names of buckets, which have 63 characters at most."""
