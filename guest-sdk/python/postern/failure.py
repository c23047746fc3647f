"""Why a call failed: one of sixteen kinds, a text for people, details for programs."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from ._text import text


class Kind(Enum):
    """What went wrong, in the field's standard terms (the sixteen kinds of gRPC)."""

    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    INVALID_ARGUMENT = "invalid-argument"
    DEADLINE_EXCEEDED = "deadline-exceeded"
    NOT_FOUND = "not-found"
    ALREADY_EXISTS = "already-exists"
    PERMISSION_DENIED = "permission-denied"
    RESOURCE_EXHAUSTED = "resource-exhausted"
    FAILED_PRECONDITION = "failed-precondition"
    ABORTED = "aborted"
    OUT_OF_RANGE = "out-of-range"
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    DATA_LOSS = "data-loss"
    UNAUTHENTICATED = "unauthenticated"


class Failure(Exception):
    """A failed call. Raise one of its classes; `Failure.of` takes the kind as a value.

    `details` is one JSON value for programs, shown to the caller beside the message.
    """

    kind: Kind = Kind.UNKNOWN

    def __init__(self, message: str = "", *, details: Any = None) -> None:
        self.message = text(str(message))
        super().__init__(self.message)
        self.details = details

    @staticmethod
    def of(kind: Kind | str, message: str = "", *, details: Any = None) -> Failure:
        """The failure of that kind; `kind` also by its name, `"not-found"`.

        Raises ValueError for a name that is no kind.
        """
        return _CLASSES[Kind(kind)](message, details=details)

    def details_json(self) -> str | None:
        """The details as JSON text, `None` without details or when they have no form in JSON."""
        if self.details is None:
            return None
        try:
            return text(json.dumps(self.details, ensure_ascii=False, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            return None

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.message}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Failure):
            return NotImplemented
        mine = (self.kind, self.message, self.details)
        return mine == (other.kind, other.message, other.details)

    __hash__ = Exception.__hash__


class Cancelled(Failure):
    """The caller has left. HTTP 499."""

    kind = Kind.CANCELLED


class Unknown(Failure):
    """Nobody knows. HTTP 500."""

    kind = Kind.UNKNOWN


class InvalidArgument(Failure):
    """The caller sent something that cannot be served. HTTP 400."""

    kind = Kind.INVALID_ARGUMENT


class DeadlineExceeded(Failure):
    """The time that the caller gave is over. HTTP 504."""

    kind = Kind.DEADLINE_EXCEEDED


class NotFound(Failure):
    """Nothing has that name. HTTP 404."""

    kind = Kind.NOT_FOUND


class AlreadyExists(Failure):
    """Something has that name. HTTP 409."""

    kind = Kind.ALREADY_EXISTS


class PermissionDenied(Failure):
    """The caller is known and may not. HTTP 403."""

    kind = Kind.PERMISSION_DENIED


class ResourceExhausted(Failure):
    """A quota is used up. HTTP 429."""

    kind = Kind.RESOURCE_EXHAUSTED


class FailedPrecondition(Failure):
    """The request is well formed, but the present state does not allow it. HTTP 400."""

    kind = Kind.FAILED_PRECONDITION


class Aborted(Failure):
    """Somebody else was faster; the caller may try again from the start. HTTP 409."""

    kind = Kind.ABORTED


class OutOfRange(Failure):
    """A number or a position lies outside of what there is. HTTP 400."""

    kind = Kind.OUT_OF_RANGE


class Unimplemented(Failure):
    """There is no such operation here. HTTP 501."""

    kind = Kind.UNIMPLEMENTED


class Internal(Failure):
    """The plugin itself is broken. HTTP 500. Every other exception becomes one."""

    kind = Kind.INTERNAL


class Unavailable(Failure):
    """Nobody can answer at present. HTTP 503."""

    kind = Kind.UNAVAILABLE


class DataLoss(Failure):
    """What was stored cannot be read. HTTP 500."""

    kind = Kind.DATA_LOSS


class Unauthenticated(Failure):
    """The caller is not known. HTTP 401."""

    kind = Kind.UNAUTHENTICATED


_CLASSES = {cls.kind: cls for cls in Failure.__subclasses__()}
