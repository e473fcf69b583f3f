"""Counting requests for Prometheus; with several processes, over all of them."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # read when prometheus_client is imported
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mmsc_requests", "Requests by route and status.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "mmsc_request_seconds",
            "Seconds until a response was sent.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._refused = Gauge(
            "mmsc_index_refused",
            "1 where the newest index is damaged, or the rules are wrong, and older ones are served.",
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self._opened = Gauge(
            "mmsc_index_opened_timestamp_seconds",
            "When the served index was opened.",
            registry=self._registry,
            multiprocess_mode="livemin",
        )
        self._children: dict[tuple[str, int], Any] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        children = self._children.get((route, status))
        if children is None:
            children = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._children[route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    def render(self, *, refused: bool, opened: float) -> bytes:
        """Return all metrics as Prometheus reads them."""
        self._refused.set(refused)
        self._opened.set(opened)
        if MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
