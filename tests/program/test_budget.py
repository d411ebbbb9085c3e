import pytest

from infra.aws.budget import Budget, BudgetArgs
from infra.settings.environment import BudgetSettings


@pytest.fixture
def build(deploy):
    def run(by_tag):
        settings = BudgetSettings(usd_per_month=2000, notify=("ana@example.com", "ben@example.com"))
        place = {"environment": "dev", "region": "us-east-1", "account_id": "123456789012"}
        args = BudgetArgs(settings=settings, by_tag=by_tag, **place)
        return deploy(lambda: Budget("budget", args)).inputs["budget-monthly"]

    return run


@pytest.fixture
def budget(build):
    return build(by_tag=True)


def test_while_the_tag_is_no_cost_allocation_tag_the_account_counts_or_nobody_would_ever_be_told(build):
    (counted,) = build(by_tag=False)["costFilters"]
    assert counted == {"name": "LinkedAccount", "values": ["123456789012"]}


def test_only_what_is_tagged_with_the_environment_counts(budget):
    assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:environment$dev"]}]
    assert (budget["timeUnit"], budget["limitAmount"], budget["limitUnit"]) == ("MONTHLY", "2000.00", "USD")


def test_credits_and_refunds_dont_hide_what_is_spent(budget):
    assert budget["costTypes"] == {"includeCredit": False, "includeRefund": False}


def test_everybody_is_told_before_the_limit_at_it_and_when_it_will_be_passed(budget):
    told = {(each["notificationType"], each["threshold"], each["thresholdType"]) for each in budget["notifications"]}
    assert told == {("ACTUAL", 80, "PERCENTAGE"), ("ACTUAL", 100, "PERCENTAGE"), ("FORECASTED", 100, "PERCENTAGE")}
    for each in budget["notifications"]:
        assert each["comparisonOperator"] == "GREATER_THAN"
        assert each["subscriberEmailAddresses"] == ["ana@example.com", "ben@example.com"]
