"""`modelyard prices`, against a server on the loopback that has small price lists in AWS's format."""

import csv
import io
import json
import shutil
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from botocore.exceptions import BotoCoreError
from moto import mock_aws

from infra import catalog
from modelyard import prices
from modelyard.cli.prices import app
from modelyard.errors import FailedError, RefusedError

CACHES = (
    catalog.sources,
    catalog.instance_types,
    catalog.regions,
    catalog.offerings,
    catalog.zones,
    catalog.unit_prices,
)
HEAD = """"FormatVersion","v1.0"
"Disclaimer","For information, no more"
"Publication Date","2026-11-01T22:53:08Z"
"Version","20261101225308"
"OfferCode","{service}"
"""
COLUMNS = [
    "SKU", "TermType", "PriceDescription", "StartingRange", "EndingRange", "Unit", "PricePerUnit", "Currency",
    "Product Family", "Location Type", "Instance Type", "Volume Type", "Database Engine", "Deployment Option",
    "Tenancy", "Operating System", "usageType", "operation", "CapacityStatus", "Pre Installed S/W",
]  # fmt: skip
ANY = {
    "SKU": "ABC", "TermType": "OnDemand", "PriceDescription": 'a "price", with a comma', "StartingRange": "0",
    "EndingRange": "Inf", "Currency": "USD", "Location Type": "AWS Region",
}  # fmt: skip
LINUX = {
    "Product Family": "Compute Instance", "Unit": "Hrs", "Tenancy": "Shared", "Operating System": "Linux",
    "CapacityStatus": "Used", "Pre Installed S/W": "NA",
}  # fmt: skip


def instance(name, usd, **other):
    return {**LINUX, "Instance Type": name, "PricePerUnit": usd, "usageType": f"BoxUsage:{name}"} | other


def usage(kind, usd, **other):
    return {"usageType": kind, "PricePerUnit": usd} | other


def price_list(service, *rows):
    file = io.StringIO()
    table = csv.DictWriter(file, COLUMNS, restval="", quoting=csv.QUOTE_ALL, lineterminator="\n")
    table.writeheader()
    table.writerows({**ANY, **row} for row in rows)
    return HEAD.replace("{service}", service) + file.getvalue()


class Lists:
    """What the server answers, by service and region."""

    def __init__(self):
        self.texts = {}
        self.told_length = None
        self.asked = []

    def put(self, service, *rows, region="us-east-1"):
        self.texts[f"/offers/v1.0/aws/{service}/current/{region}/index.csv"] = price_list(service, *rows)


@pytest.fixture
def lists():
    served = Lists()
    for region in ("us-east-1", "eu-central-1"):
        for service in prices.USAGES:
            served.put(service, region=region)
        served.put("AmazonEC2", instance("g5.xlarge", "1.5"), region=region)
    return served


@pytest.fixture
def address(lists):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            lists.asked.append(self.path)
            text = lists.texts.get(self.path)
            self.send_response(404 if text is None else 200)
            body = (text or "no such thing").encode()
            self.send_header("Content-Length", str(len(body) if lists.told_length is None else lists.told_length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of two regions' tables that may be changed."""
    for name in ("sources.csv", "instance_types.csv"):
        shutil.copy(catalog.HERE / name, tmp_path)
    for kind in ("regions", "prices"):
        (tmp_path / kind).mkdir()
        for region in ("us-east-1", "eu-central-1"):
            shutil.copy(catalog.HERE / kind / f"{region}.csv", tmp_path / kind)
    monkeypatch.setattr(catalog, "HERE", tmp_path)
    monkeypatch.setattr(catalog, "REGIONS", tmp_path / "regions")
    monkeypatch.setattr(catalog, "PRICES", tmp_path / "prices")
    forget()
    yield tmp_path
    monkeypatch.undo()
    forget()


@pytest.fixture(autouse=True)
def no_credentials(tmp_path, monkeypatch):
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def on_demand(name, region="us-east-1"):
    price = catalog.hourly_price(region, name)
    assert price, f"{name} has no price"
    return price


def unit_price(item, region="us-east-1"):
    price = catalog.unit_price(region, item)
    assert price, f"{item} has no price"
    return price


def forget():
    for cached in CACHES:
        cached.cache_clear()


def renew(address, *regions):
    said: list[str] = []
    renewed = prices.refresh(regions or ["us-east-1"], address, said.append)
    forget()
    return renewed, said


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_on_demand_prices_are_those_of_linux_on_shared_hardware_with_the_list_s_day(lists, address, folder):
    lists.put(
        "AmazonEC2",
        instance("g5.xlarge", "1.5"),
        instance("g5.xlarge", "9", Tenancy="Dedicated"),
        instance("g5.xlarge", "9", **{"Operating System": "Windows"}),
        instance("g5.xlarge", "9", **{"Pre Installed S/W": "SQL Std"}),
        instance("g5.xlarge", "9", CapacityStatus="UnusedCapacityReservation"),
        instance("g5.xlarge", "9", TermType="Reserved"),
        instance("g5.xlarge", "9", **{"Location Type": "AWS Local Zone"}),
        instance("g5.metal", "7", **{"Product Family": "Compute Instance (bare metal)"}),
        instance("m7g.metal", "2.5", **{"Product Family": "Compute Instance (bare metal)"}),
    )
    before = catalog.offerings("us-east-1")["g5.xlarge"]
    [renewed], _ = renew(address)
    after = catalog.offerings("us-east-1")["g5.xlarge"]
    price = on_demand("g5.xlarge")
    assert (price.usd, price.date.isoformat()) == (1.5, "2026-11-01")
    assert catalog.sources()[price.source].what == "AWS's price list of AmazonEC2, version 20261101225308"
    assert (after.spot, after.zones, after.zones_source) == (before.spot, before.zones, before.zones_source)
    assert catalog.hourly_usd("us-east-1", "m7g.metal") == 2.5
    assert "g5.metal" not in catalog.offerings("us-east-1"), "it is no type that the catalogue knows"
    assert renewed.instance_types == 2


def test_what_the_list_no_longer_has_loses_its_price_and_other_regions_stay(lists, address, folder):
    before = contents(folder)
    assert catalog.hourly_usd("us-east-1", "g5.2xlarge") is not None
    renew(address)
    assert catalog.hourly_usd("us-east-1", "g5.2xlarge") is None
    changed = {name for name, text in contents(folder).items() if text != before[name]}
    assert changed == {"sources.csv", "regions/us-east-1.csv"}


def test_other_prices_come_from_their_usage_types(lists, address, folder):
    lists.put(
        "AmazonEC2",
        instance("g5.xlarge", "1.5"),
        usage("EUC1-NatGateway-Hours", "0.052", operation="NatGateway"),
        usage("EUC1-NatGateway-Hours", "0.9", operation="RegionalNatGateway"),
        usage("EUC1-EBS:VolumeP-Throughput.gp3", "48.64"),
        region="eu-central-1",
    )
    lists.put(
        "AmazonVPC",
        usage("EUC1-VpcEndpoint-Bytes", "0.01", operation="VpcEndpoint", EndingRange="1048576"),
        usage("EUC1-VpcEndpoint-Bytes", "0.006", operation="VpcEndpoint", StartingRange="1048576"),
        region="eu-central-1",
    )
    lists.put("awskms", usage("eu-central-1-KMS-Keys", "1.0"), region="eu-central-1")
    lists.put("AmazonS3", usage("EUC1-Tables-TimedStorage-ByteHrs", "0.9"), region="eu-central-1")
    assert catalog.unit_price("eu-central-1", "nat-gateway-hour") is None
    renew(address, "eu-central-1")
    usd = {item: price.usd for item, price in catalog.unit_prices("eu-central-1").items()}
    assert usd["nat-gateway-hour"] == 0.052
    assert usd["ebs-gp3-mibps-month"] == 0.0475, "the list has it by GiB/s"
    assert usd["interface-endpoint-gb"] == 0.01, "of the first tier"
    assert usd["kms-key-month"] == 1
    assert "s3-standard-gb-month" not in usd
    assert unit_price("nat-gateway-hour").source != "aws-AmazonEC2-20261101225308"


def test_databases_are_priced_by_engine_and_number_of_zones(lists, address, folder):
    database = {"Product Family": "Database Instance", "Instance Type": "db.m7g.large", "Database Engine": "PostgreSQL"}
    storage = {"Product Family": "Database Storage", "Volume Type": "General Purpose-GP3", "Database Engine": "MySQL"}
    lists.put(
        "AmazonRDS",
        {**database, "Deployment Option": "Single-AZ", "PricePerUnit": "0.17"},
        {**database, "Deployment Option": "Multi-AZ", "PricePerUnit": "0.33"},
        {**database, "Deployment Option": "Single-AZ", "PricePerUnit": "0.9", "Database Engine": "Oracle"},
        {**storage, "Deployment Option": "Multi-AZ", "PricePerUnit": "0.23"},
    )
    renew(address)
    assert unit_price("rds-postgres-single-az-db.m7g.large-hour").usd == 0.17
    assert unit_price("rds-postgres-multi-az-db.m7g.large-hour").usd == 0.33
    assert unit_price("rds-gp3-multi-az-gb-month").usd == 0.23


def test_an_item_with_two_prices_stays_as_it_was_and_is_told(lists, address, folder):
    lists.put("AmazonECR", usage("TimedStorage-ByteHrs", "0.2"), usage("TimedStorage-ByteHrs", "0.3"))
    before = catalog.unit_price("us-east-1", "ecr-gb-month")
    [renewed], _ = renew(address)
    assert catalog.unit_price("us-east-1", "ecr-gb-month") == before
    assert renewed.ambiguous == ["ecr-gb-month"]


@mock_aws
def test_with_credentials_the_zones_are_what_ec2_says(lists, address, folder, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    path = folder / "regions" / "us-east-1.csv"
    path.write_text(path.read_text().replace("use1-az6", "use1-az9"))
    [renewed], _ = renew(address)
    assert renewed.zones
    assert "use1-az9" not in catalog.zones("us-east-1")
    assert "use1-az6" in catalog.offered_in("us-east-1", "g5.xlarge")
    assert catalog.offerings("us-east-1")["g5.xlarge"].zones_source.startswith("aws-offerings-")
    assert "use1-az3" in path.read_text(), "what EKS can't use is left out when asked for, not in the table"


def test_without_credentials_the_zones_stay_and_that_is_said(address, folder):
    [renewed], said = renew(address)
    assert not renewed.zones
    assert "us-east-1: without AWS credentials the zones stay as they are" in said


def test_a_refusal_by_ec2_is_one_sentence(address, folder, monkeypatch):
    monkeypatch.setattr(prices, "get_session", lambda: (_ for _ in ()).throw(BotoCoreError()))
    before = contents(folder)
    with pytest.raises(FailedError, match=r"^EC2 in us-east-1 doesn't tell its offerings \(.*\); nothing was changed$"):
        renew(address)
    assert contents(folder) == before


def missing(lists):
    del lists.texts["/offers/v1.0/aws/AmazonEKS/current/us-east-1/index.csv"]


def broken_off(lists):
    lists.texts = {path: text[: text.rindex('","')] for path, text in lists.texts.items()}


def cut(lists):
    lists.told_length = 1_000_000


def another_thing(lists):
    lists.texts = dict.fromkeys(lists.texts, "<html>Welcome to the hotel</html>\n")


def another_form(lists):
    lists.texts = {path: text.replace("Tenancy", "Tenant") for path, text in lists.texts.items()}


def no_number(lists):
    lists.put("AmazonEC2", instance("g5.xlarge", "cheap"))


def a_huge_field(lists):
    lists.put("AmazonEC2", instance("g5.xlarge", "1", SKU="A" * 200_000))


def strange_types(lists):
    lists.put("AmazonEC2", instance("g99.xlarge", "1"))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing, "AmazonEKS/current/us-east-1/index.csv answered 404; nothing was changed"),
        (broken_off, "AmazonEC2/current/us-east-1/index.csv is broken off; nothing was changed"),
        (cut, "AmazonEC2/current/us-east-1/index.csv can't be read (peer closed connection"),
        (
            another_thing,
            "AmazonEC2/current/us-east-1/index.csv is no price list of the known form; nothing was changed",
        ),
        (another_form, "AmazonEC2/current/us-east-1/index.csv is no price list of the known form"),
        (no_number, "AmazonEC2/current/us-east-1/index.csv is no price list of the known form"),
        (a_huge_field, "AmazonEC2/current/us-east-1/index.csv is no price list of the known form"),
        (
            strange_types,
            "AWS's price list of EC2 in us-east-1 has none of the known instance types; nothing was changed",
        ),
    ],
)
def test_a_bad_answer_is_one_sentence_and_changes_nothing(lists, address, folder, spoil, sentence):
    spoil(lists)
    before = contents(folder)
    with pytest.raises(FailedError) as refusal:
        renew(address)
    assert sentence in str(refusal.value)
    assert refusal.value.code == 1
    assert contents(folder) == before


@pytest.mark.parametrize("address", ["http://[", "prices"])
def test_an_address_that_is_none_is_one_sentence(folder, address):
    with pytest.raises((FailedError, RefusedError), match="http|prices"):
        renew(address)


def test_no_network_is_one_sentence(folder):
    with pytest.raises(FailedError, match=r"index.csv can't be read \(.*refused\); nothing was changed"):
        renew("http://127.0.0.1:9")


def test_a_second_region_that_fails_leaves_the_first_as_it_was(lists, address, folder):
    del lists.texts["/offers/v1.0/aws/AmazonECR/current/eu-central-1/index.csv"]
    before = contents(folder)
    with pytest.raises(FailedError, match="eu-central-1/index.csv answered 404"):
        renew(address, "us-east-1", "eu-central-1")
    assert contents(folder) == before


def test_a_list_of_many_megabytes_is_read_in_little_memory(lists, address):
    lists.put("AmazonEC2", *[instance("g5.xlarge", "1.5")] * 20_000)
    [path] = [path for path in lists.texts if "AmazonEC2/current/us-east-1" in path]
    assert len(lists.texts[path]) > 3_000_000
    size = len(lists.texts[path])
    tracemalloc.start()
    try:
        with httpx.Client(base_url=address) as client:
            offer = prices.read_offer("AmazonEC2", "us-east-1", client)
        most = tracemalloc.get_traced_memory()[1] - size  # the server's own copy
    finally:
        tracemalloc.stop()
    assert offer.prices["g5.xlarge"] == (1.5, "hour")
    assert most < 1_000_000


def test_the_command_renews_and_shows(address, folder, capsys):
    app(["refresh", "--region", "us-east-1", "--address", address, "--json"], standalone_mode=False)
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "regions": [
            {
                "region": "us-east-1", "published": "2026-11-01", "instance_types": 1, "items": 0, "zones": False,
                "ambiguous": [],
            }
        ]
    }  # fmt: skip
    assert "us-east-1: the price list of AmazonEC2" in said.err
    forget()
    app(["show", "g5.xlarge*", "--json"], standalone_mode=False)
    shown = json.loads(capsys.readouterr().out)
    assert shown["prices"][0] == {
        "item": "g5.xlarge", "usd": 1.5, "unit": "hour", "source": "aws-AmazonEC2-20261101225308", "date": "2026-11-01",
    }  # fmt: skip
    assert [price["item"] for price in shown["prices"]] == ["g5.xlarge", "g5.xlarge-spot"]


def test_by_default_all_known_regions_are_renewed(lists, address, folder, monkeypatch, capsys):
    monkeypatch.setenv("MODELYARD_PRICE_LIST", address)
    app(["refresh"], standalone_mode=False)
    assert {path.split("/")[6] for path in lists.asked} == {"us-east-1", "eu-central-1"}
    assert "as before" in capsys.readouterr().out


def test_without_items_all_but_the_instance_types_are_shown(capsys):
    app(["show", "--region", "us-east-1"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "nat-gateway-hour" in shown
    assert "rds-mysql-multi-az-db.t4g.medium-hour" in shown
    assert "g5.xlarge" not in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "nat-gateway-our"], "no price is known for 'nat-gateway-our'; did you mean 'nat-gateway-hour'?"),
        (["show", "--region", "eu-central-9"], "--region eu-central-9 is not known; did you mean 'eu-central-2'?"),
        (["refresh", "--region", "us-east-9"], "--region us-east-9 is not known; did you mean 'us-east-2'?"),
    ],
)
def test_a_wrong_name_is_refused_with_the_near_one(words, sentence):
    with pytest.raises(RefusedError) as refusal:
        app(words, standalone_mode=False)
    assert str(refusal.value) == sentence


def test_an_item_is_shown_by_a_part_of_its_name(capsys):
    def shown(item):
        app(["show", item, "--json"], standalone_mode=False)
        return [one["item"] for one in json.loads(capsys.readouterr().out)["prices"]]

    found = shown("db.m7g.large")
    assert "rds-postgres-multi-az-db.m7g.large-hour" in found
    assert all("db.m7g.large" in item for item in found)
    assert shown("g5.xlarge") == ["g5.xlarge"], "what is called so is all that was asked for"


def test_every_item_that_is_not_known_is_told():
    with pytest.raises(RefusedError) as refusal:
        app(["show", "g5.xlarge", "moon-hour", "nat-gateway-our", ""], standalone_mode=False)
    assert [line.split(";")[0] for line in str(refusal.value).splitlines()] == [
        f"no price is known for '{item}'" for item in ("moon-hour", "nat-gateway-our", "")
    ]
