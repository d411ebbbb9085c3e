"""How long resources live."""

import pulumi

from infra.settings.base import Lifetime


def kept(parent: pulumi.Resource, lifetime: Lifetime) -> pulumi.ResourceOptions:
    """For what holds data: where durable it is protected, and stays when its stack goes."""
    return pulumi.ResourceOptions(parent=parent, protect=lifetime.durable, retain_on_delete=lifetime.durable)
