import pytest
from pydantic import ValidationError

from infra.settings.environment import AwsEnvironment, DatabaseSettings

SUBNETS = ["subnet-0aaaaaaa", "subnet-0bbbbbbb", "subnet-0ccccccc"]
SETTINGS = {
    "owner": "ana@example.com",
    "cost_center": "ml",
    "security": "standard",
    "lifetime": "throwaway",
    "cluster": {"admins": ["arn:aws:iam::123456789012:role/admin"]},
    "hardware": {"a10g": {"expected": 1, "max": {"on-demand": 1}}},
    "budget": {"usd_per_month": 1, "notify": ["ana@example.com"]},
}


def environment(**settings):
    return AwsEnvironment.model_validate({**SETTINGS, **settings}, strict=False)


@pytest.mark.parametrize(("storage", "most"), [(20, 22), (100, 110), (1000, 1100), (100, 100)])
def test_a_database_grows_by_a_tenth_at_least_or_not_at_all(storage, most):
    assert DatabaseSettings(storage_gb=storage, max_storage_gb=most).max_storage_gb == most


@pytest.mark.parametrize(("storage", "most", "least"), [(20, 21, 22), (105, 115, 116), (100, 50, 110)])
def test_what_rds_refuses_to_grow_is_refused_here_with_what_is_allowed(storage, most, least):
    with pytest.raises(ValidationError, match=f"wants {least} at least, or {storage} for"):
        DatabaseSettings(storage_gb=storage, max_storage_gb=most)


@pytest.mark.parametrize("size", ["micro", "small"])
def test_mysql_has_no_performance_insights_on_the_smallest_classes_but_postgresql_has(size):
    small = {"instance_class": f"db.t4g.{size}"}
    with pytest.raises(ValidationError, match="from a medium class on"):
        environment(pipelines_database=small)
    assert environment(tracking_database=small).tracking_database.instance_class == f"db.t4g.{size}"


def test_in_an_existing_network_efs_is_mounted_in_private_subnets_of_it_and_in_no_others():
    network = {"vpc": "vpc-0aaaaaaa", "private_subnets": SUBNETS[:2]}
    with pytest.raises(ValidationError, match=f"mounted in {SUBNETS[2]}: name subnets of network.private_subnets"):
        environment(network=network, storage={"file_system": {"kind": "efs", "subnets": SUBNETS[1:]}})
    with pytest.raises(ValidationError, match="name subnets of network.private_subnets, or none"):
        environment(storage={"file_system": {"kind": "efs", "subnets": SUBNETS[:1]}})
