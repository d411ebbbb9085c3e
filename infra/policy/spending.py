"""Money."""

from collections.abc import Iterator

from pulumi_policy import Severity

from infra.policy.control import ACCOUNT, ENVIRONMENT, Item, Stack, listed, together

BUDGET = "aws:budgets/budget:Budget"
SUBSCRIPTION = "aws:costexplorer/anomalySubscription:AnomalySubscription"
PROVIDER = "pulumi:providers:aws"
KINDS = ("ACTUAL", "FORECASTED")


@together("budget-alarms", Severity.HIGH, [37], "Pulumi 13004; WA cost pillar", setting="budget")
def budget_alarms(stack: Stack) -> Iterator[tuple[Item, str]]:
    """An environment on AWS has a budget that tells somebody when it is spent, and when it is going to be."""
    budgets = stack.of(BUDGET)
    if not budgets and stack.of(PROVIDER):
        yield from ((environment, "nothing limits what it costs") for environment in stack.of(ENVIRONMENT))
    for budget in budgets:
        alarms = [
            one
            for one in listed(budget.at("notifications"))
            if one.get("subscriberEmailAddresses") or one.get("subscriberSnsTopicArns")
        ]
        if missing := [kind for kind in KINDS if not any(one.get("notificationType") == kind for one in alarms)]:
            yield budget, f"nobody is told of spending that is {' or '.join(missing).lower()}"


@together("anomaly-alarm", Severity.MEDIUM, [37], "WA cost pillar", setting="anomaly_usd")
def anomaly_alarm(stack: Stack) -> Iterator[tuple[Item, str]]:
    """Somebody is told of an account's unusual spending."""
    told = [one for one in stack.of(SUBSCRIPTION) if one.at("monitorArnLists") and one.at("subscribers")]
    for account in stack.of(ACCOUNT) if not told else ():
        yield account, "nobody is told when it spends more than usual"
