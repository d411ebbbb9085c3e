"""Writes terraform_names.json: what Terraform calls the resource types of `pulumi_aws` and their properties.

    npm pack @cdktf/provider-aws@21.22.1 && tar xzf cdktf-provider-aws-21.22.1.tgz
    python -m modelyard.plan.terraform_names package/.jsii

Terraform's schema is that package's, Pulumi's is in its types; kept is only what differs by more than the spelling.
"""

import importlib
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pulumi import _types

from modelyard.plan.terraform import snake

SERVICES = [
    "accessanalyzer",
    "autoscaling",
    "backup",
    "budgets",
    "cloudtrail",
    "cloudwatch",
    "costexplorer",
    "ebs",
    "ec2",
    "ecr",
    "efs",
    "eks",
    "fsx",
    "guardduty",
    "iam",
    "kms",
    "lambda_",
    "rds",
    "s3",
    "secretsmanager",
    "serverlessrepository",
    "sns",
    "sqs",
    "ssm",
    "vpc",
]
PREFIXES = {
    "costexplorer": ("ce",),
    "rds": ("rds", "db"),
    "s3": ("s3", "s3_bucket"),
    "serverlessrepository": ("serverlessapplicationrepository",),
    "sqs": ("sqs", "sqs_queue"),
}
ODD_TYPES = {
    "aws:cloudtrail/trail:Trail": "aws_cloudtrail",
    "aws:ec2/dedicatedHost:DedicatedHost": "aws_ec2_host",
    "aws:guardduty/iPSet:IPSet": "aws_guardduty_ipset",
    "aws:guardduty/threatIntelSet:ThreatIntelSet": "aws_guardduty_threatintelset",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "aws_iam_openid_connect_provider",
    "aws:rds/instance:Instance": "aws_db_instance",
    "aws:rds/roleAssociation:RoleAssociation": "aws_db_instance_role_association",
    "aws:serverlessrepository/cloudFormationStack:CloudFormationStack": (
        "aws_serverlessapplicationrepository_cloudformation_stack"
    ),
}
ODD_NAMES = {
    "aws:cloudwatch/logSubscriptionFilter:LogSubscriptionFilter": {"logGroup": "log_group_name"},
    "aws:cloudwatch/metricAlarm:MetricAlarm": {"name": "alarm_name"},
    "aws:lambda/function:Function": {"name": "function_name", "code": "filename"},
    "aws:lambda/layerVersion:LayerVersion": {"code": "filename"},
    "aws:lambda/permission:Permission": {"function": "function_name"},
    "aws:sns/topicSubscription:TopicSubscription": {"topic": "topic_arn"},
}
FILE = Path(__file__).with_suffix(".json")
LINK = re.compile(r"docs/resources/\w+#(\w+) ")

Schema = dict[str, Any]
"""By attribute: a Schema for a block, `list`, `map` or `scalar`."""


def main() -> None:
    """Write the table, and say what could not be matched."""
    warnings.simplefilter("ignore")
    package = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    table, strangers = {}, []
    for token, arguments in sorted(_pulumi_types()):
        kind, schema = _terraform_type(token, package["types"])
        if schema is None:
            strangers.append(token)
            continue
        differences: dict[str, Any] = {"type": kind, "names": dict(ODD_NAMES.get(token, {})), "maps": [], "lists": []}
        strangers += [f"{token} {path}" for path in _compare("", arguments, schema, differences)]
        table[token] = {key: value for key, value in differences.items() if value}
    document = {"source": f"npm @cdktf/provider-aws {package['version']}, PyPI pulumi-aws 7", "types": table}
    FILE.write_text(json.dumps(document, separators=(",", ":"), sort_keys=True).replace('"aws:', '\n"aws:') + "\n")
    print(f"{len(table)} types; not in Terraform's schema:", *strangers, sep="\n  ", file=sys.stderr)  # noqa: T201


def _pulumi_types() -> Iterator[tuple[str, type]]:
    for service in SERVICES:
        package = importlib.import_module(f"pulumi_aws.{service}")
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            if found := re.search(r"super\(\w+, __self__\).__init__\(\s*'(aws:[^']+)'", path.read_text()):
                module = importlib.import_module(f"{package.__name__}.{path.stem}")
                yield found[1], getattr(module, next(name for name in module.__all__ if name.endswith("Args")))


def _terraform_type(token: str, types: Mapping[str, Any]) -> tuple[str, Schema | None]:
    module, _, title = token.removeprefix("aws:").partition("/")
    name = snake(title.partition(":")[2])
    prefixes = PREFIXES.get(module, (module,))
    for kind in (ODD_TYPES.get(token, ""), *(f"aws_{prefix}_{name}" for prefix in prefixes), f"aws_{name}"):
        title = "".join(word.title() for word in kind.removeprefix("aws_").split("_"))
        space = title[:1].lower() + title[1:]
        for config in (f"@cdktf/provider-aws.{space}.{title}Config", f"@cdktf/provider-aws.{space}.{title}AConfig"):
            if config in types:
                return kind, _schema(types[config], types)
    return "", None


def _schema(interface: Mapping[str, Any], types: Mapping[str, Any]) -> Schema:
    found: Schema = {}
    for entry in interface.get("properties", ()):
        words = entry["docs"].get("summary", "") + entry["docs"].get("remarks", "")
        if link := LINK.search(words):
            found[link[1]] = _kind(entry["type"], types)
    return found


def _kind(declared: Mapping[str, Any], types: Mapping[str, Any]) -> Any:
    if "union" in declared:
        kinds = [_kind(inner, types) for inner in declared["union"]["types"] if inner.get("fqn") != "cdktf.IResolvable"]
        return next((kind for kind in kinds if kind != "scalar"), "scalar")
    if "collection" in declared:
        element = _kind(declared["collection"]["elementtype"], types)
        return element if isinstance(element, dict) else "map" if declared["collection"]["kind"] == "map" else "list"
    if str(declared.get("fqn", "")).startswith("@cdktf/provider-aws."):
        return _schema(types[declared["fqn"]], types)
    return "scalar"


def _compare(path: str, arguments: type, schema: Schema, differences: dict[str, Any]) -> Iterator[str]:
    """Note what differs, and yield the paths that Terraform's schema does not have."""
    for key, declared in _types.input_type_types(arguments).items():
        here = f"{path}.{key}" if path else key
        name = differences["names"].get(here) or next((name for name in _singulars(snake(key)) if name in schema), None)
        if name is None:
            yield here
            continue
        if name != snake(key):
            differences["names"][here] = name
        kind, bare = schema[name], _types.unwrap_type(declared)
        element = _types.unwrap_type(get_args(bare)[-1]) if get_args(bare) else bare
        if isinstance(kind, dict) and _types.is_input_type(element):
            yield from _compare(here, element, kind, differences)
        elif kind == "map":
            differences["maps"].append(here)
        elif kind == "list" and not get_origin(bare):
            differences["lists"].append(here)


def _singulars(name: str) -> Iterator[str]:
    yield name
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("ses", "s"), ("xes", "x"), ("s", "")):
        if name.endswith(ending):
            yield name.removesuffix(ending) + singular


if __name__ == "__main__":
    main()
