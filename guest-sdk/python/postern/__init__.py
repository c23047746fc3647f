"""Postern plugins in Python. The guide is README.md beside this package."""

from . import call, client, config, directory, events, kv, log, metrics
from .async_stream import AsyncRequest, async_stream_handler
from .failure import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Failure,
    Internal,
    InvalidArgument,
    Kind,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
)
from .frame import Frame, FrameHead, Verdict, frame_extension
from .roles import (
    Candidates,
    Credentials,
    Event,
    Health,
    Identity,
    Instance,
    Reply,
    Request,
    Response,
    authenticator,
    authorizer,
    balancer,
    event_handler,
    health,
    on_start,
    request_interceptor,
    response_interceptor,
)
from .service import Service

__all__ = [name for name in dir() if not name.startswith("_")]
