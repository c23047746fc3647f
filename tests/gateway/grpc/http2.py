"""A client of gRPC over HTTP/2 that sends every octet as it is told, on the library `h2`, and shows what came.

The library checks what the gateway sends. Bodies are written here: flags, lengths and messages need not fit.
"""

import gzip
import json
import socket
import struct
import sys

import h2.config
import h2.connection
import h2.events

# Seconds; far above what a busy machine takes.
SILENCE = 60
CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED"
    " RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE"
    " DATA_LOSS UNAUTHENTICATED"
).split()


def frame(message, flags=0, length=None):
    """A message behind its flags and its length, or another length than it has."""
    return struct.pack(">BI", flags, len(message) if length is None else length) + message


def packed(message):
    """The same, in the coding gzip."""
    return frame(gzip.compress(message), flags=1)


def varint(number):
    octets = b""
    while number > 0x7F:
        octets += bytes([number & 0x7F | 0x80])
        number >>= 7
    return octets + bytes([number])


def field(number, value):
    """A field of protobuf: an integer, or what has a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Reply:
    """What came on one stream."""

    def __init__(self):
        self.heads = []
        self.data = b""
        self.reset = None
        self.ended = False

    def value(self, name):
        """The first value of that name, wherever it stands."""
        return next((v for head in self.heads for n, v in head if n == name), None)

    def messages(self):
        """Flags and octets of each message."""
        rest, messages = self.data, []
        while rest:
            flags, length = struct.unpack(">BI", rest[:5])
            messages.append((flags, rest[5 : 5 + length]))
            rest = rest[5 + length :]
        return messages

    def code(self):
        """The name of the status of gRPC; else what else has come."""
        status = self.value("grpc-status")
        if status is not None:
            return CODES[int(status)]
        if self.reset is not None:
            return f"reset {self.reset}"
        return f"HTTP {self.value(':status')}"


class Connection:
    def __init__(self, host, port):
        self.authority = f"{host}:{port}"
        self.socket = socket.create_connection((host, port), SILENCE)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 30)
        self.replies = {}
        self.goaway = None
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def open(self, path, headers=(), end=False, method="POST", content_type="application/grpc", te="trailers"):
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", self.authority)]
        head += [("content-type", content_type)] if content_type else []
        head += [("te", te)] if te else []
        self.h2.send_headers(stream, head + list(headers), end_stream=end)
        self.h2.increment_flow_control_window(1 << 30, stream)
        self.replies[stream] = Reply()
        self.flush()
        return stream

    def send(self, stream, body, end=True, piece=None):
        """Sends a body in DATA frames of at most `piece` octets, as windows allow; less where the reply ends before."""
        reply, rest = self.replies[stream], memoryview(body)
        while rest and not reply.ended:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.read()
                continue
            length = min(room, piece or room)
            self.h2.send_data(stream, bytes(rest[:length]))
            rest = rest[length:]
            self.flush()
        if end and not reply.ended:
            self.h2.end_stream(stream)
            self.flush()

    def read(self):
        octets = self.socket.recv(65536)
        if not octets:
            for reply in self.replies.values():
                reply.ended = True
        for event in self.h2.receive_data(octets) if octets else ():
            reply = self.replies.get(getattr(event, "stream_id", None))
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                reply.heads.append(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                reply.data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                reply.ended = True
            elif isinstance(event, h2.events.StreamReset) and reply:
                reply.ended, reply.reset = True, int(event.error_code)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = event.last_stream_id
        self.flush()

    def reply(self, stream):
        """What comes until the stream has ended."""
        while not self.replies[stream].ended:
            self.read()
        return self.replies[stream]

    def call(self, path, body=b"", headers=(), piece=None, **options):
        """A whole call; without a body the head ends it."""
        stream = self.open(path, headers, end=not body, **options)
        if body:
            self.send(stream, body, piece=piece)
        return self.reply(stream)
