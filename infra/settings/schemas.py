"""JSON Schemas of the files in stacks/, for editors; `python -m infra.settings.schemas` writes them anew."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from infra.settings.account import AccountSettings
from infra.settings.environment import AwsEnvironment, ExistingEnvironment
from infra.settings.hardware import HardwareSettings
from infra.settings.stacks import ACCOUNT, AROUND, ENVIRONMENT
from infra.settings.waivers import WaiverSettings

FOLDER = Path(__file__).parents[2] / "stacks" / "schemas"


def schemas() -> dict[str, str]:
    """Every schema's text by its file's name."""
    made = {
        "account.json": _stack(ACCOUNT, TypeAdapter(AccountSettings).json_schema()),
        "environment.json": _stack(ENVIRONMENT, TypeAdapter(AwsEnvironment | ExistingEnvironment).json_schema()),
        "hardware.json": TypeAdapter(HardwareSettings).json_schema(),
        "waivers.json": TypeAdapter(WaiverSettings).json_schema(),
    }
    return {name: json.dumps(schema, indent=2) + "\n" for name, schema in made.items()}


def _stack(key: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A Pulumi stack file that holds these settings."""
    definitions = schema.pop("$defs", {})
    return {
        "$defs": definitions,
        "type": "object",
        "required": ["config"],
        "additionalProperties": False,
        "properties": {name: {} for name in AROUND if name != "config"}
        | {"config": {"type": "object", "required": [key], "properties": {key: schema}}},
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
