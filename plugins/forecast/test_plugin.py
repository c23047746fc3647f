import pytest
from postern import InvalidArgument
from postern.testing import Host

from plugin import forecast


def series(**more):
    return {"start": "2026-01-31", "every": "month", "values": [1, 2, 3, 4], **more}


@pytest.fixture
def host():
    with Host() as host:
        yield host


def points(host, **more):
    return host.call(forecast, "Predict", series(**more))["points"]


def test_a_constant_series_stays_where_it_is_and_is_certain(host):
    (point,) = points(host, values=[5] * 20)
    assert point == {"date": "2027-09-30", "value": 5.0, "low": 5.0, "high": 5.0}


def test_a_trend_goes_on(host):
    values = [10 + 2 * index for index in range(60)]
    found = [point["value"] for point in points(host, values=values, count=3)]
    assert found == pytest.approx([130, 132, 134], abs=1)


def test_a_season_comes_back(host):
    pattern = [0, 10, 20, 10]
    found = [point["value"] for point in points(host, values=pattern * 5, season=4, count=4)]
    assert found == pytest.approx(pattern, abs=0.5)


def test_what_is_further_ahead_is_less_certain(host):
    found = points(host, values=[1, 5, 2, 6, 1, 7], count=3)
    widths = [point["high"] - point["low"] for point in found]
    assert widths == sorted(widths) and widths[0] > 0


@pytest.mark.parametrize(
    ("every", "start", "expected"),
    [
        ("day", "2026-02-27", ["2026-03-01", "2026-03-02"]),
        ("workday", "2026-11-27", ["2026-12-01", "2026-12-02"]),
        ("week", "2026-12-21", ["2027-01-04", "2027-01-11"]),
        ("month", "2026-12-31", ["2027-02-28", "2027-03-31"]),
        ("year", "2024-02-29", ["2026-02-28", "2027-02-28"]),
    ],
)
def test_points_lie_on_the_calendar(host, every, start, expected):
    found = points(host, every=every, start=start, values=[1, 1], count=2)
    assert [point["date"] for point in found] == expected


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"count": 0}, "count 0 is not 1 to 1000"),
        ({"values": [1]}, "1 values are not 2 to 10000"),
        ({"season": 3}, "4 values are not 6 to 10000"),
        ({"start": "2026-02-30"}, "`start`: `2026-02-30` is not a date"),
        ({"every": "decade"}, "`every`: `decade` is none of"),
    ],
)
def test_what_cannot_be_foreseen_is_refused(host, more, fault):
    with pytest.raises(InvalidArgument) as raised:
        points(host, **more)
    assert fault in raised.value.message


def test_a_series_is_followed_value_by_value(host):
    found = host.stream(forecast, "Follow", [{"value": 4}, {"value": 4}, {"value": 4}])
    assert found == [{"value": 4.0, "error": 0.0}] * 3


def test_the_weights_are_those_of_the_manifest():
    with Host(config={"level": 1}) as host:
        found = host.stream(forecast, "Follow", [{"value": 1}, {"value": 9}])
        assert found[1]["value"] == pytest.approx(9.8)
    with Host(config={"trend": 0}) as host, pytest.raises(InvalidArgument, match="config key `trend` has value 0.0"):
        host.call(forecast, "Predict", series())


@pytest.mark.parametrize(
    "asked",
    [
        {"start": "9999-01-01", "every": "year", "values": [1, 2]},
        {"start": "9999-12-01", "every": "month", "values": [1, 2]},
        {"start": "9999-12-31", "every": "day", "values": [1, 2]},
        {"start": "2026-01-31", "every": "month", "values": [1, 1e200]},
        {"start": "2026-01-31", "every": "month", "values": [-1e101, 1]},
    ],
)
def test_what_cannot_be_computed_is_the_callers_fault(asked):
    with Host() as host, pytest.raises(InvalidArgument, match="beyond the year 9999|is not within"):
        host.call(forecast, "Predict", asked)


def test_a_value_of_a_stream_is_bounded_as_well():
    with Host() as host:
        assert len(host.stream(forecast, "Follow", [{"value": 1e100}, {"value": -1e100}])) == 2
        with pytest.raises(InvalidArgument, match="is not within"):
            host.stream(forecast, "Follow", [{"value": 1}, {"value": 1e101}])
