"""The stand-in for Pulumi's Kubernetes provider, as the engine starts it."""

from tests.cluster.standins.kubernetes.provider import main

main()
