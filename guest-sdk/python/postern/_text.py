"""Text as the host takes it."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    """The text with U+FFFD in the place of each half of a surrogate pair, of which JSON may have some and
    Unicode has none: the host ends an instance that hands it over. Raises TypeError for what is no `str`."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}: make a str of it")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def text_pairs(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same for names and values."""
    return [(text(name), text(value)) for name, value in pairs]
