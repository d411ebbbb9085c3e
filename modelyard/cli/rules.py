"""How a judge's report is shown."""

from typing import Any

from modelyard.cli.output import number, table, verdict


def rules_table(report: dict[str, Any]) -> Any:
    """Each rule with its number and limit."""
    rows = [
        (
            verdict(good=rule["passed"], yes="holds", no="broken"),
            rule["rule"],
            number(rule["value"]),
            f"{rule['compare']} {number(rule['limit'])}",
            rule["note"],
        )
        for rule in report.get("rules", [])
    ]
    return table(["", "rule", "number", "limit", ""], rows, right=["number", "limit"])
