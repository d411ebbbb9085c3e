"""What components reach over the network: the model registry and the model server."""
