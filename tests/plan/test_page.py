"""A plan's page: whole, safe and readable."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from infra.settings.waivers import Waivers
from modelyard.plan.difference import Change, Difference
from modelyard.plan.page import _style, page
from modelyard.plan.picture import picture
from modelyard.plan.plan import Plan
from modelyard.plan.price import price
from modelyard.plan.quotas import needs
from tests.plan.planning import CPU, ENVIRONMENT_COMPONENT, component, graph, resource, stack

EVIL = "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


@pytest.fixture
def settings(tmp_path):
    return stack(tmp_path)


def network(**inputs):
    return [
        ENVIRONMENT_COMPONENT,
        component("network"),
        resource("aws:ec2/vpc:Vpc", "network-vpc", "network", cidrBlock="10.64.0.0/16", **inputs),
        *(
            resource(
                "aws:ec2/subnet:Subnet",
                f"network-{tier}-{zone}",
                "network",
                cidrBlock=f"10.64.{number}.0/24",
                availabilityZoneId=zone,
            )
            for number, (tier, zone) in enumerate(
                (tier, zone) for zone in ("use1-az1", "use1-az2") for tier in ("private", "public", "intra")
            )
        ),
        resource("aws:ec2/natGateway:NatGateway", "network-nat", "network", subnetId="network-public-use1-az1-id"),
    ]


def planned(shape, settings, **changes):
    known = {
        "stack": settings,
        "graph": shape,
        "bill": price(shape, settings),
        "quotas": tuple(needs(shape, settings)),
        "findings": (),
        "waivers": Waivers((), settings.document),
        "against": None,
        "difference": None,
    }
    return Plan(**known | changes)


class Reader(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has a handler: {name}"
            assert name != "style", "the page's policy lets no style attribute through"
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "action", "srcset"}:
                self.addresses.append(value)

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.words.append(data)


def texts(svg):
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter("text")]


def test_the_page_needs_nothing_from_elsewhere(settings):
    read = Reader(page(planned(graph(*network()), settings)))
    assert "script" not in read.tags
    assert {"link", "img", "iframe"} & set(read.tags) == set()
    assert all(address.startswith("#") for address in read.addresses)
    assert {address[1:] for address in read.addresses} <= set(read.ids), "each link leads to a part of the page"


def test_its_policy_allows_its_own_style_and_nothing_else(settings):
    text = page(planned(graph(*network()), settings))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_whatever_comes_from_outside_is_text(tmp_path):
    profiles = {"cpu": CPU | {"description": EVIL}}
    settings = stack(tmp_path, profiles=profiles)
    shape = graph(
        *network(tags={"Name": EVIL}),
        resource("aws:s3/bucket:Bucket", EVIL, "network", bucket=EVIL),
        resource(f"aws:odd/{EVIL}:{EVIL}", "odd", "network"),
        resource("aws:ec2/subnet:Subnet", EVIL, "network", cidrBlock=EVIL, availabilityZoneId=EVIL),
    )
    difference = Difference((f"urn::{EVIL}",), (), {"urn:a": (Change(EVIL, EVIL, None),)})
    read = Reader(page(planned(shape, settings, difference=difference, against=tmp_path / EVIL.replace("/", ""))))
    assert "script" not in read.tags
    assert "img" not in read.tags
    assert any("<script>alert(1)</script>" in word for word in read.words), "it is shown as it was written"


def test_the_page_can_be_read_without_eyes(settings):
    text = page(planned(graph(*network()), settings))
    read = Reader(text)
    assert re.search(r'<html lang="en">', text)
    assert read.tags.count("h1") == 1
    assert read.tags.count("caption") == read.tags.count("table") > 0
    assert len(set(read.ids)) == len(read.ids)
    assert all(scope in {"col", "row"} for scope in re.findall(r"<th [^>]*?scope=\"(\w+)\"", text))
    assert len(re.findall(r"<th\b", text)) == len(re.findall(r"<th [^>]*?scope=", text))
    assert 'role="img" aria-labelledby="picture-title picture-about"' in text


def test_every_text_stands_out_from_its_ground_by_light_and_by_dark():
    light, dark = re.findall(r":root \{(.*?)\}", _style(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    for overrides in ({}, dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark))):
        known = colours | overrides
        for ink in ("ink", "quiet", "blue", "critical", "high", "medium", "low", "fine"):
            for ground in ("paper", "raised"):
                assert contrast(known[ink], known[ground]) >= 4.5, f"{ink} on {ground}: WCAG AA asks for 4.5"
        for ground in ("blue-soft", "green-soft", "sand-soft"):
            assert contrast(known["quiet"], known[ground]) >= 4.5, f"quiet on {ground}"


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_picture_has_each_zone_with_its_subnets_from_the_outside_in(settings):
    seen = texts(picture(graph(*network()), settings))
    assert {"use1-az1", "use1-az2"} <= set(seen)
    assert "VPC 10.64.0.0/16" in seen
    assert [word for word in seen if word.split(",")[0] in {"public", "private", "intra"}] == [
        "public, NAT gateway",
        "private",
        "intra",
        "public",
        "private",
        "intra",
    ]


def test_what_the_graph_does_not_hold_is_not_drawn(settings):
    only_bucket = resource("aws:s3/bucket:Bucket", "storage-data", bucket="dev-data")
    seen = texts(picture(graph(only_bucket), settings))
    assert seen == ["AWS account 123456789012, us-east-1", "Buckets", "dev-data"]
    assert "cpu" not in picture(graph(only_bucket), settings), "without a cluster there are no node pools to speak of"
    cluster = resource("aws:eks/cluster:Cluster", "cluster-cluster", version="1.35", vpcConfig={})
    seen = texts(picture(graph(only_bucket, cluster), settings))
    assert "EKS cluster-cluster, Kubernetes 1.35, private endpoint" in seen
    assert "cpu" in seen, "its node pools come with it"
    assert not any(word.startswith("VPC") for word in seen), "the network is somebody else's"


def test_nothing_is_drawn_of_nothing(settings):
    assert picture(graph(), settings) == ""


def test_long_lists_are_cut_and_say_how_much_is_left(settings):
    buckets = [resource("aws:s3/bucket:Bucket", f"b{number}") for number in range(9)]
    assert texts(picture(graph(*buckets), settings))[2:] == ["b0", "b1", "b2", "b3", "b4", "and 4 more"]


def test_no_box_leaves_the_picture(settings):
    svg = ElementTree.fromstring(picture(graph(*network()), settings))
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    for box in svg.iter("rect"):
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width
        assert float(box.attrib["y"]) + float(box.attrib["height"]) <= height
