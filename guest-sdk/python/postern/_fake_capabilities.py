"""The imports `metrics` and `directory` as a test's host offers them."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field

from ._text import text, text_pairs
from .directory import Listing, ServiceInstance
from .failure import FailedPrecondition, InvalidArgument, PermissionDenied, ResourceExhausted

#: wit, interface `metrics`.
NAME_BYTES_MAX = 64
LABELS_MAX = 8
VALUE_BYTES_MAX = 128
HELP_BYTES_MAX = 256
BOUNDS_MAX = 32
SUFFIXES = ("_total", "_count", "_sum", "_bucket", "_created", "_info")
LABELS_TAKEN = ("plugin", "le", "quantile")
#: Defaults of a manifest's `limits.metrics` and `limits.metric-series`.
METRICS_MAX = 100
SERIES_MAX = 1000

_KIND_OF = {"increase": "counter", "set": "gauge", "adjust": "gauge", "observe": "histogram"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass
class Series:
    """What was counted under one name with one set of labels; of a histogram the sum."""

    value: float = 0.0
    observed: list[float] = field(default_factory=list)


@dataclass
class Metric:
    kind: str
    bounds: list[float] | None = None
    series: dict[tuple[tuple[str, str], ...], Series] = field(default_factory=dict)


class FakeMetrics:
    """The plugin's own metrics, by name."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}

    def series(self, name: str, labels: dict[str, str]) -> Series | None:
        metric = self.metrics.get(name)
        return metric and metric.series.get(tuple(sorted(labels.items())))

    def declare(self, name: str, kind: str, help: str, bounds: list[float]) -> None:
        if len(help.encode()) > HELP_BYTES_MAX or not help.isprintable() or "\\" in help:
            raise InvalidArgument(f"the text about metric `{name}` is not at most {HELP_BYTES_MAX} octets on one line")
        grow = all(before < after for before, after in zip(bounds, bounds[1:]))
        if len(bounds) > BOUNDS_MAX or not grow or not all(map(math.isfinite, bounds)) or (bounds and kind != "histogram"):
            raise InvalidArgument(f"the bounds of `{name}` are not 1 to {BOUNDS_MAX} numbers that grow")
        metric = self._metric(text(name), kind)
        if metric.bounds is None:
            metric.bounds = list(bounds)
        if bounds and metric.bounds != bounds:
            raise FailedPrecondition(f"metric `{name}` has other bounds already")

    def change(self, change: str, name: str, labels: list[tuple[str, str]], value: float) -> None:
        if not math.isfinite(value) or (change == "increase" and value < 0):
            raise InvalidArgument(f"{value} cannot be counted")
        labels = text_pairs(labels)
        _check_labels(labels)
        n_series = sum(len(metric.series) for metric in self.metrics.values())
        series = self._metric(text(name), _KIND_OF[change]).series
        key = tuple(sorted(labels))
        if key not in series and n_series >= SERIES_MAX:
            raise ResourceExhausted(f"a series of metric `{name}` is one more than the {SERIES_MAX} that the plugin may have")
        found = series.setdefault(key, Series())
        found.value = value if change == "set" else found.value + value
        if change == "observe":
            found.observed.append(value)

    def _metric(self, name: str, kind: str) -> Metric:
        _check_name("metric", name)
        for suffix in SUFFIXES:
            if name.endswith(suffix):
                raise InvalidArgument(f"metric `{name}` ends in `{suffix}`, which the format adds itself")
        if name not in self.metrics and len(self.metrics) >= METRICS_MAX:
            raise ResourceExhausted(f"metric `{name}` is one more than the {METRICS_MAX} that the plugin may have")
        metric = self.metrics.setdefault(name, Metric(kind))
        if metric.kind != kind:
            raise FailedPrecondition(f"metric `{name}` is a {metric.kind} and no {kind}")
        return metric


class FakeDirectory:
    """Who answers for the services that the plugin may look up."""

    def __init__(self) -> None:
        self.services: dict[str, list[ServiceInstance]] = {}

    def discover(self, service: str) -> Listing:
        if service not in self.services:
            raise PermissionDenied(
                f"looking up service `{service}` is not granted; "
                f'[grants] directory = ["{service}"] in the manifest gives it'
            )
        instances = sorted(self.services[service], key=lambda instance: instance.id)
        revision = hashlib.sha256(repr(instances).encode()).hexdigest()[:16]
        return Listing(revision, instances)

    def next_change(self, service: str, revision: str) -> Listing | None:
        """Nothing changes while a test is in here, so it does not wait."""
        listing = self.discover(service)
        return None if listing.revision == revision else listing


def _check_name(what: str, name: str) -> None:
    if len(name) > NAME_BYTES_MAX or not _NAME.match(name):
        raise InvalidArgument(
            f"{what} `{name}` is not 1 to {NAME_BYTES_MAX} letters, digits and `_` that begin with no digit"
        )


def _check_labels(labels: list[tuple[str, str]]) -> None:
    if len(labels) > LABELS_MAX:
        raise InvalidArgument(f"{len(labels)} labels exceed the limit of {LABELS_MAX}")
    for name, value in labels:
        _check_name("label", name)
        if name.startswith("__") or name in LABELS_TAKEN:
            raise InvalidArgument(f"label `{name}` is taken; choose another name")
        length = len(value.encode())
        if length > VALUE_BYTES_MAX:
            raise InvalidArgument(f"a value of label `{name}` has {length} octets, the limit is {VALUE_BYTES_MAX}")
