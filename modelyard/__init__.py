"""The `modelyard` command and what stands behind it."""
