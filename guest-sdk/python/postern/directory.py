"""Who answers for a service, and what changes there. The manifest grants services:
`[grants] directory = ["users"]`, where `*` is every one.

Waiting counts as time of a unary call and not as time of a stream: a watch that goes on belongs into a streaming
method. Entries that ask for permissions are found while a call is answered whose caller has one of them. Every
function raises PermissionDenied without a grant, Unavailable where the gateway has no directory, and OutOfRange for
more than 4 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import _host

_TIMEOUT_MS_MAX = (1 << 32) - 1


@dataclass(frozen=True)
class ServiceInstance:
    """One that answers for a service."""

    id: str
    #: Where it is reached: `tcp://10.0.0.7:9090`. Empty for a plugin of this gateway.
    addresses: list[str] = field(default_factory=list)
    #: A semantic version, where it states one.
    version: str | None = None
    zone: str | None = None
    #: Its share of the calls beside others; 0 while it is taken out.
    weight: int = 100
    metadata: dict[str, str] = field(default_factory=dict)
    #: Whether it answered when it was last asked.
    healthy: bool = True
    #: Told by another gateway that is lost at present.
    stale: bool = False


@dataclass(frozen=True)
class Listing:
    """All instances of a service at one moment, in the order of ids."""

    #: Two listings of one service with the same revision are equal.
    revision: str
    instances: list[ServiceInstance]


def discover(service: str) -> Listing:
    """The instances of a service; none when nobody answers for it."""
    return _host.current.directory_discover(service)


def next_change(service: str, revision: str, timeout: float) -> Listing | None:
    """Waits until the instances of a service are others than those of `revision`, for `timeout` seconds at the
    most; `None` when they are still the same, and a little before the call's own time is over."""
    timeout_ms = min(max(int(timeout * 1000), 0), _TIMEOUT_MS_MAX)
    return _host.current.directory_next_change(service, revision, timeout_ms)


class Watch:
    """The listings of one service, one after the other.

    >>> watch = Watch("users")          # doctest: +SKIP
    >>> while True:                     # doctest: +SKIP
    ...     listing = watch.next(1.0)   # the first at once, then each that is different
    ...     if listing:
    ...         print(len(listing.instances))
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._revision: str | None = None

    def next(self, timeout: float) -> Listing | None:
        """The first listing at once, each further one when it is another than the one before; `None` when none was
        within `timeout` seconds."""
        if self._revision is None:
            listing: Listing | None = discover(self._service)
        else:
            listing = next_change(self._service, self._revision, timeout)
        if listing is not None:
            self._revision = listing.revision
        return listing
