"""The model server: Open Inference Protocol v2 over models from the registry."""
