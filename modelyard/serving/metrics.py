"""What the server tells Prometheus, in a registry of its own."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from modelyard.serving.onnx_model import OnnxModel

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters of requests, rows and failed loads; what is loaded is asked for at each scrape.

    A request for a model that is not loaded is counted without its name, or anyone could fill the store with names.
    """

    def __init__(self, loaded: Callable[[], Iterable[OnnxModel]]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "modelyard_inference_requests",
            "Inference requests by outcome: ok, refused or failed.",
            ["model", "version", "outcome"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "modelyard_inference_seconds",
            "From the whole body to the whole answer.",
            ["model", "version"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.rows = Counter("modelyard_rows_scored", "Rows scored.", ["model", "version"], registry=self.registry)
        self.load_failures = Counter(
            "modelyard_model_load_failures", "Loads that were refused.", ["model"], registry=self.registry
        )
        self.registry.register(LoadedModels(loaded))
        ProcessCollector(registry=self.registry)


class LoadedModels(Collector):
    """The loaded versions: always 1, the news is in the labels."""

    def __init__(self, loaded: Callable[[], Iterable[OnnxModel]]) -> None:
        self._loaded = loaded

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One sample a model."""
        info = GaugeMetricFamily(
            "modelyard_model_info", "The loaded version of a model.", labels=["model", "version", "digest"]
        )
        for model in self._loaded():
            info.add_metric([model.name, model.version, model.digest], 1)
        yield info
