"""The local runner: compiled KFP v2 pipelines on one machine."""
