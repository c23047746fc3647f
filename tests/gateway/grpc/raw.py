"""Calls of gRPC that are right and wrong in their octets, at the component `grpc-interop`.

Called with the host and the port of a gateway, the limit of its messages in octets, and the name of a part where
not all are wanted. Prints a line for each case: its name, the status, and what else the case is about. What is
right, raw.txt knows.
"""

import base64
import gzip
import sys

from http2 import Connection, Reply, field, frame, packed

HOST, PORT, LIMIT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
TEST = "/grpc.testing.TestService/"
EMPTY, UNARY, INPUT, DUPLEX = (
    TEST + name for name in ("EmptyCall", "UnaryCall", "StreamingInputCall", "FullDuplexCall")
)
# What is sent back as trailing metadata.
ECHO = "x-grpc-test-echo-trailing-bin"


def told(name, reply, *more):
    code = reply.code() if isinstance(reply, Reply) else reply
    print(f"{name}: {', '.join([code, *map(str, more)])}", flush=True)


def call(*arguments, **options):
    """On a connection of its own: what breaks one case breaks no other."""
    return Connection(HOST, PORT).call(*arguments, **options)


def heads():
    for content_type in (
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;charset=utf-8",
        "application/grpc+thrift",
        "application/grpcfoo",
        "text/plain",
        None,
    ):
        told(f"content-type {content_type}", call(EMPTY, frame(b""), content_type=content_type))
    told("no te", call(EMPTY, frame(b""), te=None))
    told("method GET", call(EMPTY, method="GET"))
    told("method PUT", call(EMPTY, frame(b""), method="PUT"))
    told("a service that nobody has", call("/grpc.testing.UnimplementedService/UnimplementedCall", frame(b"")))
    told("a method that the service lacks", call(TEST + "UnimplementedCall", frame(b"")))
    told("a path of one segment", call("/EmptyCall", frame(b"")))
    told("a path of three segments", call(EMPTY + "/more", frame(b"")))
    reply = call(TEST + "UnimplementedCall", frame(b""))
    told("an error before any message is one head", reply, len(reply.heads), len(reply.data))


def timeouts():
    for value in ("1n", "0m", "0S", "5S", "99999999H", "4999m"):
        told(f"grpc-timeout {value}", call(EMPTY, frame(b""), headers=[("grpc-timeout", value)]))
    for value in ("5s", "S", "123456789m", "-1S", ""):
        told(f"grpc-timeout {value!r} is none", call(EMPTY, frame(b""), headers=[("grpc-timeout", value)]))
    # The component waits for a second before it answers.
    late = frame(field(2, field(2, 1_000_000)))
    reply = call(TEST + "StreamingOutputCall", late, headers=[("grpc-timeout", "200m")])
    told("a deadline in the middle of a call", reply)


def frames():
    told("a message octet by octet", call(UNARY, frame(field(2, 7)), piece=1))
    two = frame(field(1, field(2, b"ab"))) + frame(field(1, field(2, b"cde")))
    for piece in (None, 1, 6):
        reply = call(INPUT, two, piece=piece)
        told(f"two messages in pieces of {piece or 'all'}", reply, reply.messages()[0][1].hex())
    told("no message at all for a unary method", call(EMPTY))
    told("an end without a message for a unary method", call(EMPTY, b"", headers=[("x", "y")]))
    told("two messages for a unary method", call(EMPTY, frame(b"") * 2))
    told("no message for a stream", call(DUPLEX))
    told("three octets of a head", call(EMPTY, b"\0\0\0"))
    told("a length that is longer than the body", call(EMPTY, frame(b"short", length=10)))
    told("a length that is shorter than the message", call(UNARY, frame(field(2, 7), length=1)))
    told("flags 2", call(EMPTY, frame(b"", flags=2)))
    told("flags 0x80", call(EMPTY, frame(b"", flags=0x80)))
    told("octets that are no protobuf", call(UNARY, frame(b"\xff\xff\xff")))
    told("a field that nobody knows", call(UNARY, frame(field(1000, b"x"))))


def codings():
    gzipped = [("grpc-encoding", "gzip")]
    told("gzip", call(UNARY, packed(field(2, 7)), headers=gzipped))
    told("gzip, and a message without the flag", call(UNARY, frame(field(2, 7)), headers=gzipped))
    told("the flag without a coding", call(UNARY, packed(field(2, 7))))
    told("the flag with the coding identity", call(UNARY, packed(field(2, 7)), headers=[("grpc-encoding", "identity")]))
    reply = call(UNARY, frame(b"x", flags=1), headers=[("grpc-encoding", "snappy")])
    told("a coding that nobody knows", reply, "gzip" in (reply.value("grpc-accept-encoding") or ""))
    told("gzip that is none", call(UNARY, frame(b"none", flags=1), headers=gzipped))
    cut = gzip.compress(field(2, 7))[:-4]
    told("gzip that is cut off", call(UNARY, frame(cut, flags=1), headers=gzipped))
    bomb = packed(bytes(64 << 20))
    told("gzip of 64 MiB of zeros", call(UNARY, bomb, headers=gzipped))
    reply = call(UNARY, frame(field(2, 100_000)), headers=[("grpc-accept-encoding", "snappy")])
    told("no coding that we know is accepted", reply, reply.messages()[0][0])


def metadata():
    octets = bytes(range(256))
    whole = base64.b64encode(octets).decode()
    for name, value in (("padded", whole), ("without padding", whole.rstrip("="))):
        reply = call(UNARY, frame(b""), headers=[(ECHO, value)])
        back = reply.value(ECHO) or ""
        told(f"binary metadata {name}", reply, base64.b64decode(back + "=" * (-len(back) % 4)) == octets)
    told("binary metadata that is no base64", call(UNARY, frame(b""), headers=[(ECHO, "?!")]))
    told("metadata of 4 KiB", call(EMPTY, frame(b""), headers=[("x-long", "x" * 4096)]))
    reply = call(EMPTY, frame(b""), headers=[("grpc-unknown", "x"), ("grpc-status", "7")])
    told("reserved metadata of a client", reply)


def limits():
    """Messages of the length `LIMIT`, and of one octet more."""
    def message(length):
        # Payload, its body, and the heads of both in as many octets as they take.
        inner = next(n for n in range(length, 0, -1) if len(field(1, field(2, bytes(n)))) <= length)
        octets = field(1, field(2, bytes(inner)))
        return octets + b"\x78\x00" * ((length - len(octets)) // 2)

    at = message(LIMIT)
    at = at if len(at) == LIMIT else at[:-1]
    reply = call(INPUT, frame(at))
    told("a message as long as the limit", reply, len(at) == LIMIT)
    reply = call(INPUT, frame(b"x" * 100, length=LIMIT + 1))
    told("one octet more", reply)
    told("a length of 4 GiB", call(INPUT, frame(b"x", length=0xFFFFFFFF)))


if __name__ == "__main__":
    for part in (heads, timeouts, frames, codings, metadata, limits):
        if sys.argv[4:] in ([], [part.__name__]):
            part()
