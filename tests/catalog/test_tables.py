"""The committed tables: whole, dated, and at one with each other and with second sources."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from infra import catalog
from infra.catalog import tables

UNPRICED = {"r9g", "r9gd", "t8i"}  # newer than the price list of us-east-1
OPEN_FILES = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
import infra.catalog
assert not [name for name in seen if name.endswith(".csv")], seen
infra.catalog.offered_in("eu-central-1", "g5.xlarge")
print(*[name.rpartition("catalog/")[2] for name in seen if name.endswith(".csv")])
"""


def test_importing_reads_nothing_and_a_look_at_a_region_reads_that_region_s_table():
    read = subprocess.run([sys.executable, "-c", OPEN_FILES], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(read) == ["regions/eu-central-1.csv", "sources.csv"]


@pytest.mark.parametrize("region", catalog.regions())
def test_every_row_names_a_source_and_every_price_has_its_day(region):
    today = datetime.now(UTC).date()
    for row in catalog.rows(f"regions/{region}.csv"):
        for fact in ("zones", "on_demand", "spot"):
            assert (row[fact] == "") == (row[f"{fact}_source"] == ""), row
    for price in catalog.prices(region).values():
        assert price.usd > 0
        assert price.date == catalog.sources()[price.source].date <= today
    for offering in catalog.offerings(region).values():
        assert offering.zones_source in catalog.sources()


def test_every_source_is_used():
    used = {quota.source for quota in catalog.quotas().values()}
    for region in catalog.regions():
        used |= {price.source for price in catalog.prices(region).values()}
        used |= {offering.zones_source for offering in catalog.offerings(region).values()}
    assert used == catalog.sources().keys()


@pytest.mark.parametrize("region", catalog.regions())
def test_what_has_a_price_is_a_known_type_that_a_usable_zone_offers(region):
    zones = set(catalog.zones(region))
    assert len(zones) >= 2
    assert not zones & catalog.UNUSABLE_ZONES
    for name, offering in catalog.offerings(region).items():
        assert name in catalog.instance_types()
        assert offering.zones, f"{name} is offered nowhere in {region}"
        assert offering.zones <= zones


def test_what_us_east_1_offers_has_a_price_except_for_the_newest_families():
    offerings = catalog.offerings("us-east-1")
    unpriced = {name.partition(".")[0] for name, offering in offerings.items() if offering.on_demand is None}
    assert unpriced <= UNPRICED


@pytest.mark.parametrize(  # as ec2instances.info, EC2's documentation or the price list have it, not EC2's API
    ("name", "vcpus", "memory", "architecture", "gpu", "gpus", "gpu_memory", "disk"),
    [
        ("g5.xlarge", 4, 16, "amd64", "a10g", 1, 24, 250),
        ("g5.48xlarge", 192, 768, "amd64", "a10g", 8, 192, 7600),
        ("g4dn.12xlarge", 48, 192, "amd64", "t4", 4, 64, 900),
        ("g5g.xlarge", 4, 8, "arm64", "t4g", 1, 16, 0),
        ("p4d.24xlarge", 96, 1152, "amd64", "a100", 8, 320, 8000),
        ("p5.48xlarge", 192, 2048, "amd64", "h100", 8, 640, 30400),
        ("p5en.48xlarge", 192, 2048, "amd64", "h200", 8, 1128, 30400),
        ("m7g.large", 2, 8, "arm64", "", 0, 0, 0),
    ],
)
def test_the_facts_agree_with_a_second_source(name, vcpus, memory, architecture, gpu, gpus, gpu_memory, disk):
    known = catalog.instance_types()[name]
    assert (known.vcpus, known.memory_gib, known.architecture) == (vcpus, memory, architecture)
    assert (known.gpu, known.gpus, known.local_disk_gb) == (gpu, gpus, disk)
    assert known.gpu_memory_gib == pytest.approx(gpu_memory, rel=0.07), "GB of the one are GiB of the other"


def test_a_type_with_a_part_of_a_gpu_has_one_as_kubernetes_counts():
    assert catalog.instance_types()["g6f.large"].gpus == 1


def test_offerings_are_by_zone_id():
    assert catalog.offered_in("us-east-1", "p6-b200.48xlarge") < set(catalog.zones("us-east-1"))
    assert "use1-az3" not in catalog.offered_in("us-east-1", "p5.48xlarge"), "EKS has no cluster there"


def test_the_names_of_what_is_not_known():
    assert catalog.offered_in("us-east-1", "g5.huge") == frozenset()
    assert catalog.hourly_usd("us-east-1", "g5.huge") is None
    assert catalog.unit_price("us-east-1", "moon-hour") is None
    for look in (catalog.zones, catalog.offerings, catalog.unit_prices):
        with pytest.raises(KeyError, match="us-east-9"):
            look("us-east-9")
    with pytest.raises(ValueError, match="'ondemand', not 'on-demand' or 'spot'"):
        catalog.hourly_usd("us-east-1", "g5.xlarge", "ondemand")


def test_spot_costs_no_more_than_on_demand_for_what_the_home_region_has_both_of():
    both = [(one.spot, one.on_demand) for one in catalog.offerings("us-east-1").values() if one.on_demand and one.spot]
    assert len(both) > 800
    assert all(spot.usd <= on_demand.usd for spot, on_demand in both)


def test_a_database_costs_twice_as_much_in_two_zones():
    prices = catalog.unit_prices("us-east-1")
    single, double = (prices[f"rds-postgres-{zones}-az-db.m7g.large-hour"].usd for zones in ("single", "multi"))
    assert double == pytest.approx(2 * single, rel=0.02)


def test_every_instance_type_counts_on_a_known_quota():
    for name in catalog.instance_types():
        assert catalog.vcpu_quota(name) in catalog.quotas()
        assert catalog.vcpu_quota(name, "spot") in {None, *catalog.quotas()}


@pytest.mark.parametrize(
    ("name", "capacity", "quota"),
    [
        ("m7g.large", "on-demand", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
        ("im4gn.large", "spot", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
        ("g5.xlarge", "on-demand", "Running On-Demand G and VT instances"),
        ("gr6.4xlarge", "spot", "All G and VT Spot Instance Requests"),
        ("p4d.24xlarge", "spot", "All P4, P3 and P2 Spot Instance Requests"),
        ("p5en.48xlarge", "spot", "All P5 Spot Instance Requests"),
        ("p6-b200.48xlarge", "on-demand", "Running On-Demand P instances"),
        ("trn1.32xlarge", "on-demand", "Running On-Demand Trn instances"),
        ("inf2.xlarge", "spot", "All Inf Spot Instance Requests"),
        ("u-6tb1.56xlarge", "on-demand", "Running On-Demand High Memory instances"),
        ("is4gen.large", "on-demand", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
        ("dl1.24xlarge", "on-demand", "Running On-Demand DL instances"),
        ("hpc7a.96xlarge", "on-demand", "Running On-Demand HPC instances"),
    ],
)
def test_the_quota_goes_by_the_letters_of_the_family(name, capacity, quota):
    code = catalog.vcpu_quota(name, capacity)
    assert code
    assert catalog.quotas()[code].name == quota


def test_p6_on_spot_has_no_quota_that_aws_names():
    assert catalog.vcpu_quota("p6-b200.48xlarge", "spot") is None


def test_a_table_that_can_t_be_written_whole_stays_as_it_was(tmp_path):
    path = tmp_path / "prices.csv"
    good = {"item": "nat-gateway-hour", "usd": "0.045", "unit": "hour", "source": "x"}
    tables.write(path, tables.PRICES, [good])
    before = path.read_text()
    with pytest.raises(ValueError, match="cent"):
        tables.write(path, tables.PRICES, [good, {**good, "item": "z", "cent": 4}])
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]
