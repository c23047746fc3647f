"""What is entered by the host: the same for a component and for a test.

Each function raises a Failure or nothing: whatever else is raised becomes `internal`, with the text of
the exception in its message and the stack in the log.
"""

from __future__ import annotations

import math
import traceback
from typing import Any, Callable

from . import _host
from ._text import text
from .failure import Failure, Internal
from .frame import Frame, FrameHead, Verdict
from .roles import Candidates, Credentials, Event, Health, Identity, Instance, Reply, Request, Response, registered
from .service import Service, find_service


class _State:
    """What one instance has made."""

    def __init__(self) -> None:
        self.is_started = False
        self.start_failure: Failure | None = None
        #: Objects of the roles that are classes, by the role.
        self.objects: dict[str, Any] = {}


_state = _State()


def reset() -> None:
    """Makes the next entry the first one."""
    global _state
    _state = _State()


def broken(error: BaseException) -> Failure:
    """What becomes of an exception: a Failure stays one, everything else is logged and is `internal`."""
    if isinstance(error, Failure):
        return error
    host = _host.current
    if host.log_enabled("error"):
        stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        host.log_write("error", stack.rstrip(), [])
    name = type(error).__name__
    try:
        why = str(error)
    except Exception:  # noqa: BLE001: an exception that cannot say what it is
        why = ""
    return Internal(f"{name}: {why}" if why else name)


def start() -> None:
    """Before the first call of an instance; raises again at every entry what it raised."""
    state = _state
    if not state.is_started:
        state.is_started = True
        if registered.on_start:
            try:
                registered.on_start()
            except BaseException as error:  # noqa: BLE001: every exception is a failure of the plugin
                state.start_failure = broken(error)
    if state.start_failure:
        raise state.start_failure


def unary(service: str | Service, method: str) -> Callable[[str, bytes], bytes]:
    """What answers the unary calls of a method. Raises what the instance could not be started with, and
    NotFound."""
    if not _state.is_started or _state.start_failure:
        start()
    return find_service(service).find(method).call


def handle(service: str | Service, method: str, body: bytes) -> bytes:
    """A unary call."""
    try:
        return unary(service, method)(method, body)
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def handle_stream(service: str | Service, method: str) -> None:
    """A call of many messages; a unary method gets one and gives one."""
    start()
    try:
        find_service(service).find(method).call_stream(method)
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def check() -> Health:
    """How the plugin is."""
    try:
        start()
        return _reported(registered.health() if registered.health else None)
    except BaseException as error:  # noqa: BLE001
        return Health.not_serving(str(broken(error)))


def _reported(health: Health | None) -> Health:
    if health is None:
        return Health.serving()
    if not isinstance(health, Health):
        raise TypeError(f"the health function gave {type(health).__name__}: None is serving, Health says more")
    if health.status not in ("serving", "degraded", "not-serving"):
        raise ValueError(f"health {health.status!r} is none of serving, degraded, not-serving")
    return Health(health.status, None if health.message is None else text(str(health.message)))


def on_event(event: Event) -> None:
    """Something has happened."""
    start()
    try:
        _required("event_handler")(event)
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def on_request() -> bool:
    """A call has come. Whether it was answered."""
    start()
    try:
        reply = _required("request_interceptor")(Request())
        if reply is None:
            return False
        if not isinstance(reply, Reply):
            raise TypeError(f"the interceptor gave {type(reply).__name__}: None goes on, a Reply answers")
        host = _host.current
        host.response_set_payload(reply.payload())
        for name, value in reply.headers.items():
            host.response_set_header(name, value)
        return True
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def on_response() -> None:
    """A call has ended."""
    start()
    try:
        _required("response_interceptor")(Request(), Response())
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def update(instances: list[Instance]) -> None:
    """The set of instances has changed. One that cannot be told picks nothing."""
    try:
        _object("balancer").update(instances)
    except BaseException as error:  # noqa: BLE001
        broken(error)


def pick(key: int) -> int | None:
    """The index of the instance that gets a call; `None` leaves it to the gateway."""
    try:
        return _placed(_object("balancer").pick(key, Candidates()))
    except BaseException as error:  # noqa: BLE001
        broken(error)
        return None


def _placed(index: int | None) -> int | None:
    if index is not None and (type(index) is not int or not 0 <= index < 2**32):
        raise TypeError(f"the balancer picked {index!r}: it gives an index, or None")
    return index


def done(index: int, outcome: str, micros: int) -> None:
    """How a call ended that `pick` has placed."""
    try:
        told = getattr(_object("balancer"), "done", None)
        if told:
            told(index, outcome, micros)
    except BaseException as error:  # noqa: BLE001
        broken(error)


def authenticate(credentials: Credentials) -> Identity | None:
    """Who calls."""
    start()
    try:
        return _identified(_required("authenticator")(credentials))
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def _identified(identity: Identity | None) -> Identity | None:
    if identity is None:
        return None
    if not isinstance(identity, Identity):
        raise TypeError(f"the authenticator gave {type(identity).__name__}: None or an Identity is right")
    if isinstance(identity.roles, str):
        raise TypeError(f"the authenticator gave roles {identity.roles!r}: they are a list")
    valid = identity.valid
    if valid is not None and not (math.isfinite(valid) and 0 <= valid < 2**53):
        raise ValueError(f"the authenticator gave valid {valid}: it is a number of seconds")
    claims = {text(name): text(value) for name, value in identity.claims.items()}
    return Identity(text(identity.name), [text(role) for role in identity.roles], claims, valid)


def authorize(service: str, method: str) -> None:
    """What the caller may do."""
    start()
    try:
        _required("authorizer")(service, method)
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def should_handle(head: FrameHead) -> bool:
    """Whether a frame is to be seen. One of which that cannot be told is not."""
    try:
        return _wanted(_object("frame_extension").should_handle(head))
    except BaseException as error:  # noqa: BLE001
        broken(error)
        return False


def _wanted(answer: bool) -> bool:
    if not isinstance(answer, bool):
        raise TypeError(f"should_handle gave {type(answer).__name__}: True or False is right")
    return answer


def handle_frame() -> Verdict:
    """A frame is in hand."""
    try:
        verdict = _object("frame_extension").handle_frame(Frame())
        if verdict is not None and not isinstance(verdict, Verdict):
            raise TypeError(f"the frame extension gave {type(verdict).__name__}: None or a Verdict is right")
        return verdict or Verdict.PASS
    except Failure:
        raise
    except BaseException as error:  # noqa: BLE001
        raise broken(error) from error


def _object(role: str) -> Any:
    """The one object that this instance has for a role: every function of the role is for it."""
    start()
    if role not in _state.objects:
        _state.objects[role] = _required(role)()
    return _state.objects[role]


def _required(role: str) -> Any:
    found = getattr(registered, role)
    if found is None:
        raise Internal(f"the plugin has nothing with the role {role}")
    return found
