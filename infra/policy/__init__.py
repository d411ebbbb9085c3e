"""The Pulumi policy pack: the controls of an environment as rules, a file a subject."""

from infra.policy import cluster, identity, keys, lifetime, network, nodes, spending, storage, tags
from infra.policy.control import Control

SUBJECTS = (cluster, nodes, network, identity, keys, storage, lifetime, spending, tags)
CONTROLS = tuple(value for subject in SUBJECTS for value in vars(subject).values() if isinstance(value, Control))
"""Every control, by subject."""
