"""What a step does: one KFP component a file."""

IMAGE = "modelyard/components:dev"
"""The one image behind every component; on the local runner it means the project's own environment."""
