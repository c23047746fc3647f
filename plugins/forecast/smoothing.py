"""Exponential smoothing of Holt and Winters, additive in trend and season."""

import math

#: Four of five values of a normal distribution lie within so many standard deviations.
FOUR_OF_FIVE = 1.2816


class Smoothing:
    """What a series has taught so far. `level`, `trend` and `seasonal` say how much the last value counts."""

    def __init__(self, season: int, *, level: float, trend: float, seasonal: float) -> None:
        self.weights = (level, trend, seasonal)
        self.season = season
        self.level: float | None = None
        self.trend = 0.0
        self.seasonal = [0.0] * season
        self.n_values = 0
        self.squares = 0.0
        self.n_errors = 0

    def learn(self, values: list[float]) -> None:
        """Takes a whole series. The first season gives the seasonal part that the rest refines."""
        if self.season:
            first, second = values[: self.season], values[self.season : 2 * self.season]
            mean = sum(first) / self.season
            self.trend = (sum(second) / self.season - mean) / self.season
            middle = (self.season - 1) / 2
            self.seasonal = [value - mean - self.trend * (index - middle) for index, value in enumerate(first)]
            self.level = mean - self.trend * (middle + 1)
        for value in values:
            self.observe(value)

    def observe(self, value: float) -> None:
        """Takes the next value."""
        if self.level is None:
            self.level = value
            self.n_values = 1
            return
        by_level, by_trend, by_season = self.weights
        index = self.n_values % self.season if self.season else 0
        season = self.seasonal[index] if self.season else 0.0
        self.squares += (value - self.level - self.trend - season) ** 2
        self.n_errors += 1
        before = self.level
        self.level = by_level * (value - season) + (1 - by_level) * (before + self.trend)
        self.trend = by_trend * (self.level - before) + (1 - by_trend) * self.trend
        if self.season:
            self.seasonal[index] = by_season * (value - self.level) + (1 - by_season) * season
        self.n_values += 1

    @property
    def error(self) -> float:
        """The root of the mean square of what one step ahead was off."""
        return math.sqrt(self.squares / self.n_errors) if self.n_errors else 0.0

    def expect(self, ahead: int) -> tuple[float, float]:
        """The value so many steps ahead, and how far it may be off: more with every step."""
        season = self.seasonal[(self.n_values + ahead - 1) % self.season] if self.season else 0.0
        value = (self.level or 0.0) + ahead * self.trend + season
        by_level = self.weights[0]
        return value, FOUR_OF_FIVE * self.error * math.sqrt(1 + (ahead - 1) * by_level**2)
