"""Lines in the gateway's log, with the plugin's and the call's names already on them.

`log.info("created", user=7)`; `%` arguments are formatted only when the line is kept:
`log.debug("read %d rows", n)`. Python's own `logging` and `print` end up here as well.
"""

from __future__ import annotations

import io
import logging
from typing import Any

from . import _host

LEVELS = ("trace", "debug", "info", "warn", "error")


def enabled(level: str) -> bool:
    """Whether a line of this level would be kept. Ask before building an expensive message."""
    return _host.current.log_enabled(level)


def write(level: str, message: str, *args: Any, **fields: Any) -> None:
    """Writes a line. Lines over the plugin's rate are dropped and counted."""
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    host = _host.current
    if host.log_enabled(level):
        text = message % args if args else message
        host.log_write(level, text, [(name, str(value)) for name, value in fields.items()])


def trace(message: str, *args: Any, **fields: Any) -> None:
    """Each message of a call."""
    write("trace", message, *args, **fields)


def debug(message: str, *args: Any, **fields: Any) -> None:
    """An exception in one request."""
    write("debug", message, *args, **fields)


def info(message: str, *args: Any, **fields: Any) -> None:
    """A state has changed."""
    write("info", message, *args, **fields)


def warn(message: str, *args: Any, **fields: Any) -> None:
    """Someone should look."""
    write("warn", message, *args, **fields)


def error(message: str, *args: Any, **fields: Any) -> None:
    """The plugin is broken."""
    write("error", message, *args, **fields)


class HostHandler(logging.Handler):
    """Sends the lines of Python's own `logging` to the host."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            host, level = _host.current, _level_of(record.levelno)
            if host is not _host.ABSENT and host.log_enabled(level):
                host.log_write(level, self.format(record), [("logger", record.name)])
        except Exception:  # noqa: BLE001: a line that cannot be written must not fail the call
            self.handleError(record)


def _level_of(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    if number >= logging.INFO:
        return "info"
    return "debug" if number >= logging.DEBUG else "trace"


class LineWriter(io.TextIOBase):
    """Takes the place of standard output: whole lines become lines of the log."""

    #: Longest line in characters; a longer one is broken.
    LINE_MAX = 4096

    def __init__(self, level: str) -> None:
        self.level = level
        self.rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        while len(self.rest) > self.LINE_MAX:
            lines.append(self.rest[: self.LINE_MAX])
            self.rest = self.rest[self.LINE_MAX :]
        for line in lines:
            self._emit(line)
        return len(text)

    def flush(self) -> None:
        rest, self.rest = self.rest, ""
        self._emit(rest)

    def _emit(self, line: str) -> None:
        host = _host.current
        if line and host is not _host.ABSENT and host.log_enabled(self.level):
            host.log_write(self.level, line, [])
