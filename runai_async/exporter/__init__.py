"""Prometheus metrics of revisions and of the client itself. This package needs the extra `exporter`."""

try:
    import prometheus_client as _prometheus_client  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as _error:
    raise ImportError("the exporter needs prometheus-client: pip install 'runai-async[exporter]'") from _error

from runai_async.exporter._metrics import Metrics
from runai_async.exporter._server import serving

__all__ = ["Metrics", "serving"]
