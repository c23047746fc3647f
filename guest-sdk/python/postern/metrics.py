"""The plugin's own counters, gauges and histograms.

They stand at the gateway's `/metrics`: counter `jobs` of plugin `shop` is
`postern_plugin_counter_jobs_total{plugin="shop"}`, a gauge begins with `postern_plugin_gauge_` and a histogram
with `postern_plugin_histogram_`. They are kept while the plugin is there, over all its versions and instances.

A name has 1 to 64 letters, digits and `_`, begins with no digit, and does not end in `_total`, `_count`, `_sum`,
`_bucket`, `_created` or `_info`. So has the name of a label; `plugin`, `le`, `quantile` and what begins with
`__` are taken. A series has 8 labels at most, each value 128 octets at most. Do not put what callers choose freely
into a label: a plugin has 1,000 series unless its manifest says more (`limits.metric-series`), of 100 metrics
(`limits.metrics`).

Every function raises InvalidArgument for what is no such name, label or value, FailedPrecondition for a metric of
another kind, and ResourceExhausted for one metric or series too many.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from . import _host

#: What a metric may be.
KINDS = ("counter", "gauge", "histogram")


def declare(name: str, kind: str, help: str = "", bounds: Sequence[float] = ()) -> None:
    """Says what a metric is for, in up to 256 octets, and the upper bounds of a histogram's buckets: 1 to 32 that
    grow, or none for 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5 and 10. `kind` is one of `KINDS`. A metric
    that is not declared is made when it is first used."""
    if kind not in KINDS:
        raise ValueError(f"no metric is a {kind!r}; it is one of {', '.join(KINDS)}")
    _host.current.metric_declare(name, kind, help, [float(bound) for bound in bounds])


def increase(name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
    """Adds to a counter; `value` is 0 or more."""
    _host.current.metric_change("increase", name, _pairs(labels), float(value))


def set(name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
    """Sets a gauge."""
    _host.current.metric_change("set", name, _pairs(labels), float(value))


def adjust(name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
    """Adds to a gauge, or takes from it."""
    _host.current.metric_change("adjust", name, _pairs(labels), float(value))


def observe(name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
    """Counts a value in a histogram."""
    _host.current.metric_change("observe", name, _pairs(labels), float(value))


def _pairs(labels: Mapping[str, str] | None) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in (labels or {}).items()]
