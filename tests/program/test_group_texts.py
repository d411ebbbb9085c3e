"""What EC2 takes as the description of a security group or of its rule."""

import re

import pytest

from tests.program.test_environments import planned

TAKEN = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")
"""EC2 API reference, CreateSecurityGroup and IpRange; read 2026-11-21."""


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_ec2_takes_the_description_of_every_security_group_and_rule(name):
    groups = [resource for resource in planned(name).resources if "SecurityGroup" in resource.type]
    texts = [
        (resource.urn, rule["description"])
        for resource in groups
        for rule in (resource.inputs, *resource.inputs.get("ingress", ()), *resource.inputs.get("egress", ()))
        if "description" in rule
    ]
    assert len(texts) > 5
    assert not [(urn, text) for urn, text in texts if not TAKEN.fullmatch(text)]
