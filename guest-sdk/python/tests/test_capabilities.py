"""Metrics of the plugin's own, and who answers for a service."""

import math

import pytest

from postern import FailedPrecondition, InvalidArgument, PermissionDenied, ResourceExhausted, directory, metrics
from postern.directory import ServiceInstance, Watch


def test_what_was_counted_is_there_by_name_and_labels(host):
    metrics.increase("jobs", 1, {"queue": "mail", "kind": "a"})
    metrics.increase("jobs", 2, {"kind": "a", "queue": "mail"})
    metrics.set("backlog", 5)
    metrics.adjust("backlog", -2)
    metrics.observe("job_seconds", 0.25)
    metrics.observe("job_seconds", 0.5)
    assert host.metric("jobs", queue="mail", kind="a") == 3
    assert host.metric("backlog") == 3
    assert host.observed("job_seconds") == [0.25, 0.5]
    assert host.metric("jobs") is None


@pytest.mark.parametrize("name", ["", "9a", "a-b", "jobs_total", "a" * 65, "é"])
def test_a_name_that_is_none_is_refused(host, name):
    with pytest.raises(InvalidArgument):
        metrics.increase(name)


@pytest.mark.parametrize("labels", [{"plugin": ""}, {"le": ""}, {"__a": ""}, {"a b": ""}, {"b": "x" * 129}])
def test_labels_that_are_none_are_refused(host, labels):
    with pytest.raises(InvalidArgument):
        metrics.set("a", 1, labels)


def test_values_kinds_and_bounds_are_checked(host):
    for value in [-1, math.nan, math.inf]:
        with pytest.raises(InvalidArgument):
            metrics.increase("a", value)
    metrics.set("g", 1)
    with pytest.raises(FailedPrecondition):
        metrics.observe("g", 1)
    metrics.declare("h", "histogram", "Time", [1, 2])
    with pytest.raises(FailedPrecondition):
        metrics.declare("h", "histogram", "Time", [1])
    with pytest.raises(InvalidArgument):
        metrics.declare("i", "histogram", "", [2, 1])
    with pytest.raises(ValueError):
        metrics.declare("i", "summary")


def test_one_series_more_than_a_manifest_allows_by_default_is_refused(host):
    for n in range(1000):
        metrics.increase("a", labels={"n": str(n)})
    with pytest.raises(ResourceExhausted):
        metrics.increase("a")


def test_a_watch_tells_what_is_there_and_then_what_is_different(host):
    one, ill = ServiceInstance("users-1"), ServiceInstance("users-1", healthy=False)
    host.service("users", [one])
    assert directory.discover("users").instances == [one]
    watch = Watch("users")
    assert watch.next(0.001).instances == [one]
    assert watch.next(0.001) is None
    host.service("users", [ill])
    assert watch.next(0.001).instances == [ill]
    host.service("users", [])
    assert watch.next(0.001).instances == []


def test_a_service_that_is_not_granted_is_not_looked_up(host):
    with pytest.raises(PermissionDenied, match="directory"):
        directory.discover("users")
    with pytest.raises(PermissionDenied):
        directory.next_change("users", "", 0.001)
