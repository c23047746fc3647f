"""A component for any host of `wasi:http` 0.2. The last segment of the path says what it does."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method_Other,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

# What one write of `wasi:io` takes.
PIECE_BYTES = 4096


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = (request.path_with_query() or "").partition("?")[0]
        match path.rpartition("/")[2]:
            case "facts":
                body = begin(response_out, 200, [("content-type", b"text/plain")])
                end(body, facts(request))
            case "echo":
                echo(request, begin(response_out, 200, [("content-type", b"application/octet-stream")]))
            case "status":
                body = begin(response_out, 418, [("x-b", b"1"), ("x-a", b"2"), ("x-b", b"3")])
                end(body, b"short and stout")
            case "trap":
                raise KeyError("no page of that name")
            case _:
                end(begin(response_out, 404, []), b"nothing here")


def facts(request: IncomingRequest) -> bytes:
    method = request.method()
    name = method.value if isinstance(method, Method_Other) else type(method).__name__[7:].upper()
    lines = [f"{name} {request.path_with_query()}"]
    with request.headers() as headers:
        lines += [f"{name}: {value.decode()}" for name, value in headers.entries()]
    return "\n".join(lines).encode()


def begin(out: ResponseOutparam, status: int, headers: list[tuple[str, bytes]]) -> OutgoingBody:
    response = OutgoingResponse(Fields.from_list(headers))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    return body


def end(body: OutgoingBody, octets: bytes) -> None:
    with body.write() as stream:
        for begin in range(0, len(octets), PIECE_BYTES):
            stream.blocking_write_and_flush(octets[begin : begin + PIECE_BYTES])
    OutgoingBody.finish(body, None)


def echo(request: IncomingRequest, body: OutgoingBody) -> None:
    """Gives each piece of the request as it comes."""
    with request.consume() as incoming:
        with incoming.stream() as source, body.write() as sink:
            while octets := read(source):
                for begin in range(0, len(octets), PIECE_BYTES):
                    sink.blocking_write_and_flush(octets[begin : begin + PIECE_BYTES])
    OutgoingBody.finish(body, None)


def read(source) -> bytes:
    """What has come; nothing at the end."""
    try:
        return source.blocking_read(64 * 1024)
    except Err as error:
        if isinstance(error.value, StreamError_Closed):
            return b""
        raise
