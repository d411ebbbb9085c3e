"""What may be written in stacks/: the models, and how the files are read. Imports pydantic and YAML, nothing more."""
