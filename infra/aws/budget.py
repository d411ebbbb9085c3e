"""What the environment may cost."""

from __future__ import annotations  # a name like aws.budgets.Budget loads all of Budgets when it is read

from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

from infra.settings.environment import BudgetSettings

ALARMS: dict[str, tuple[Literal["ACTUAL", "FORECASTED"], int]] = {
    "nearing": ("ACTUAL", 80),
    "spent": ("ACTUAL", 100),
    "forecast": ("FORECASTED", 100),
}
"""Of what kind of cost, and at which percentage of the limit, people are told."""


@dataclass(frozen=True, kw_only=True)
class BudgetArgs:
    """What is decided before the run."""

    environment: str
    region: str
    account_id: str
    settings: BudgetSettings
    by_tag: bool


class Budget(pulumi.ComponentResource):
    """An AWS Budget.

    - the costs of what is tagged with the environment, month by month; while that is no cost-allocation tag, by which
      nothing would ever be counted, those of the whole account
    - alarms by e-mail as they near the limit, when they reach it, and when they are on their way to
    """

    name: pulumi.Output[str]

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("modelyard:aws:Budget", name, {}, opts)
        self.name = aws.budgets.Budget(
            f"{name}-monthly",
            name=f"modelyard-{args.environment}-{args.region}",
            account_id=args.account_id,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=f"{args.settings.usd_per_month:.2f}",
            limit_unit="USD",
            cost_filters=[cost_filter(args)],
            # credits and refunds would hide what is being spent
            cost_types={"include_credit": False, "include_refund": False},
            notifications=[
                {
                    "notification_type": kind,
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_email_addresses": list(args.settings.notify),
                }
                for kind, percent in ALARMS.values()
            ],
            opts=pulumi.ResourceOptions(parent=self),
        ).name
        self.register_outputs({"name": self.name})


def cost_filter(args: BudgetArgs) -> aws.budgets.BudgetCostFilterArgs:
    """Whose costs count."""
    if args.by_tag:
        return aws.budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:environment${args.environment}"])
    return aws.budgets.BudgetCostFilterArgs(name="LinkedAccount", values=[args.account_id])
