"""An upstream of gRPC that says GOAWAY in the middle of its calls, time after time, and ends what it has begun.

Prints the port that it listens at. On each connection it takes `TAKEN` calls and then says GOAWAY with the last of
them, while the gateway has sent more: those are ignored, as RFC 9113 section 6.8 says. Each call it takes is
answered with its own message, a little later. At the end of its standard input it prints how many it answered,
how many of them twice, on how many connections, and how many calls it ignored.
"""

import collections
import socket
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import GoAwayFrame

TAKEN = 150
ANSWER_AFTER = 0.02

answered = collections.Counter()
counts = collections.Counter()
lock = threading.Lock()


class Server:
    def __init__(self, sock):
        self.socket = sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.taken = []
        self.last = None
        self.bodies = {}
        self.due = collections.deque()

    def serve(self):
        self.socket.settimeout(0.005)
        try:
            while self.last is None or self.taken:
                self.flush()
                self.answer()
                try:
                    octets = self.socket.recv(65536)
                except TimeoutError:
                    continue
                if not octets:
                    return
                self.take(octets)
        except OSError:
            pass
        finally:
            self.socket.close()

    def flush(self):
        octets = self.h2.data_to_send()
        if octets:
            self.socket.settimeout(10)
            self.socket.sendall(octets)
            self.socket.settimeout(0.005)

    def take(self, octets):
        for event in self.h2.receive_data(octets):
            stream = getattr(event, "stream_id", None)
            if isinstance(event, h2.events.RequestReceived):
                self.begin(stream)
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                self.bodies[stream] = self.bodies.get(stream, b"") + event.data
            elif isinstance(event, h2.events.StreamEnded) and stream in self.taken:
                self.due.append((time.monotonic() + ANSWER_AFTER, stream))
            elif isinstance(event, h2.events.StreamReset) and stream in self.taken:
                self.taken.remove(stream)

    def begin(self, stream):
        if self.last is None:
            self.taken.append(stream)
            if len(self.taken) == TAKEN:
                self.last = stream
                self.flush()
                self.socket.sendall(GoAwayFrame(0, last_stream_id=stream).serialize())
        else:
            with lock:
                counts["ignored"] += 1

    def answer(self):
        while self.due and self.due[0][0] <= time.monotonic():
            _, stream = self.due.popleft()
            if stream not in self.taken:
                continue
            body = self.bodies.pop(stream)
            self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            self.h2.send_data(stream, body)
            self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            self.flush()
            with lock:
                answered[body] += 1
            if self.last is not None:
                self.taken.remove(stream)


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept():
        while True:
            sock, _ = listener.accept()
            counts["connections"] += 1
            threading.Thread(target=Server(sock).serve, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()
    twice = sum(n > 1 for n in answered.values())
    print(len(answered), twice, counts["connections"], counts["ignored"], flush=True)


if __name__ == "__main__":
    main()
