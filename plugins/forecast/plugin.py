"""Says how a series goes on: exponential smoothing with a trend and a season, on a calendar's dates."""

import datetime
from dataclasses import dataclass, field
from typing import Iterator, Literal

from dateutil.relativedelta import relativedelta
from dateutil.rrule import DAILY, WEEKLY, rrule

from postern import InvalidArgument, Service, config

from smoothing import Smoothing

forecast = Service("forecast", version="1.0.0", summary="Says how a series of numbers goes on.")

Every = Literal["day", "workday", "week", "month", "year"]

VALUES_MAX = 10_000
POINTS_MAX = 1_000
VALUE_MAX = 1e100


@dataclass
class Series:
    """Numbers, one for each step of the calendar, the first at `start`."""

    start: datetime.date
    every: Every
    values: list[float]
    #: Steps after which the series repeats itself; 0 for none. 12 for months, 7 for days.
    season: int = 0
    #: How many points are asked for.
    count: int = 1


@dataclass
class Point:
    """What is expected for a date; four of five values lie between `low` and `high`, as far as the past tells."""

    date: datetime.date
    value: float
    low: float
    high: float


@dataclass
class Forecast:
    points: list[Point]
    #: How far one step ahead was off in the mean.
    error: float


@dataclass
class Observation:
    value: float


@dataclass
class Expectation:
    """What is expected next."""

    value: float
    error: float = field(default=0.0)


@forecast.method(idempotent=True)
def predict(series: Series) -> Forecast:
    """Says how a series goes on."""
    if not 1 <= series.count <= POINTS_MAX:
        raise InvalidArgument(f"count {series.count} is not 1 to {POINTS_MAX}")
    if not 0 <= series.season <= VALUES_MAX // 2:
        raise InvalidArgument(f"season {series.season} is not 0 to {VALUES_MAX // 2}")
    needed = max(2, 2 * series.season)
    if not needed <= len(series.values) <= VALUES_MAX:
        raise InvalidArgument(f"{len(series.values)} values are not {needed} to {VALUES_MAX}")
    smoothing = Smoothing(series.season, **_weights())
    for value in series.values:
        _check(value)
    smoothing.learn(series.values)
    try:
        dates = _dates(series.start, series.every, len(series.values), series.count)
    except (ValueError, OverflowError):
        dates = []
    # The rule of a calendar ends without a word where the calendar does.
    if len(dates) < series.count:
        raise InvalidArgument(f"start {series.start} leads beyond the year {datetime.MAXYEAR}")
    points = []
    for ahead, date in enumerate(dates, start=1):
        value, spread = smoothing.expect(ahead)
        points.append(Point(date, round(value, 6), round(value - spread, 6), round(value + spread, 6)))
    return Forecast(points, round(smoothing.error, 6))


@forecast.method
def follow(observations: Iterator[Observation]) -> Iterator[Expectation]:
    """Takes a series value by value, and says after each what is expected next."""
    smoothing = Smoothing(0, **_weights())
    for observation in observations:
        _check(observation.value)
        smoothing.observe(observation.value)
        value, _ = smoothing.expect(1)
        yield Expectation(round(value, 6), round(smoothing.error, 6))


def _check(value: float) -> None:
    """The squares of larger values, summed up, are no numbers any more."""
    if abs(value) > VALUE_MAX:
        raise InvalidArgument(f"value {value} is not within {-VALUE_MAX} to {VALUE_MAX}")


def _weights() -> dict[str, float]:
    """How much the last value counts; keys of the manifest."""
    found = {}
    for name, default in (("level", 0.4), ("trend", 0.1), ("seasonal", 0.3)):
        found[name] = config.get(name, float, default)
        if not 0 < found[name] <= 1:
            raise InvalidArgument(f"config key `{name}` has value {found[name]}, which is not above 0 and at most 1")
    return found


def _dates(start: datetime.date, every: Every, behind: int, count: int) -> list[datetime.date]:
    """The dates of the points after the first `behind` ones."""
    if every == "month" or every == "year":
        # Counted from the start: the 31st of a month stays the last day of shorter ones.
        step = relativedelta(months=1) if every == "month" else relativedelta(years=1)
        return [start + step * index for index in range(behind, behind + count)]
    frequency = {"day": DAILY, "workday": DAILY, "week": WEEKLY}[every]
    weekdays = range(5) if every == "workday" else None
    rule = rrule(frequency, dtstart=start, count=behind + count, byweekday=weekdays)
    return [moment.date() for moment in rule][behind:]
