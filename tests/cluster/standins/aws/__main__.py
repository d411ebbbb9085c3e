"""The stand-in for Pulumi's AWS provider, as the engine starts it."""

from tests.cluster.standins.aws.provider import main

main()
