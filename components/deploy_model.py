"""The step that puts a model into service."""

from components.step import step


@step
def deploy_model(version: str, model_name: str, tracking_uri: str, serving_url: str) -> str:
    """Have the server load the version, then make it the champion; if it can't be loaded, nothing is promoted."""
    from components.services import model_server
    from components.services.registry import Registry

    registry = Registry(tracking_uri)
    registry.get(model_name, version)
    if serving_url:
        model_server.load(serving_url, model_name, version)
    registry.promote(model_name, version)
    told = f"answers at {serving_url}" if serving_url else "is promoted; no server was told, since none was named"
    return f"{model_name} version {version} {told}"
