"""The `modelyard` command, as its user has it."""
