"""Cases of RFC 6455 and RFC 7692, written and read by the library `websockets`.

Called with the host and the port of a gateway that has the service `echo`. Prints a line for each case:
its name, and all that came until the connection ended. What is right, rfc6455.rs knows. The library
refuses to write what breaks a rule, so that those frames are made here; it also reads strictly: what it
finds wrong with a frame of the gateway stands in the line.
"""

import json
import socket
import struct
import sys
import zlib

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

HOST, PORT = sys.argv[1], int(sys.argv[2])
# Far above what a busy machine takes.
SILENCE = 30
CALLS = "/ws/echo/Echo"
SESSION = "/vstp"
FINAL, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10


class Peer:
    """A connection, and what came over it."""

    def __init__(self, path=CALLS, extension=None):
        extensions = [extension] if extension else None
        uri = parse_uri(f"ws://{HOST}:{PORT}{path}")
        self.protocol = ClientProtocol(uri, extensions=extensions, max_size=None)
        self.socket = socket.create_connection((HOST, PORT), SILENCE)
        self.seen = []
        self.answers = 0
        self.asked = None
        self.parts = []
        self.n_octets = 0
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        while self.protocol.state.name == "CONNECTING":
            if not self.receive():
                raise SystemExit(f"no handshake: {self.protocol.handshake_exc}")
        if extension:
            fields = self.handshake.headers
            self.seen.append(fields.get("Sec-WebSocket-Extensions", "declined"))

    def flush(self):
        """Sends what the library has written."""
        for octets in self.protocol.data_to_send():
            try:
                if octets:
                    self.socket.sendall(octets)
                else:
                    self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                # The gateway has gone; what it said before is still read.
                pass

    def raw(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError:
            pass

    def receive(self):
        """Reads once; false at the end of the connection."""
        try:
            octets = self.socket.recv(1 << 16)
        except TimeoutError:
            self.seen.append("silence")
            return False
        except ConnectionError:
            octets = b""
        self.n_octets += len(octets)
        if octets:
            self.protocol.receive_data(octets)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            self.note(event)
        self.flush()
        return bool(octets)

    def note(self, event):
        if isinstance(event, Response):
            self.handshake = event
        elif event.opcode is Opcode.CLOSE:
            self.seen.append(f"close {Close.parse(event.data).code}")
        elif event.opcode is Opcode.PONG:
            said = bytes(event.data).decode()
            self.seen.append(f"pong {said}" if len(said) < 20 else f"pong of {len(said)} octets")
        elif event.opcode is Opcode.PING:
            self.seen.append("ping")
        else:
            self.parts.append(bytes(event.data))
            if event.fin:
                whole, self.parts = b"".join(self.parts), []
                self.answers += 1
                self.seen.append(self.answer(whole))

    def answer(self, octets):
        told = json.loads(octets)
        if self.asked is None or told.get("payload") != self.asked:
            return f"message {octets[:200]}"
        # Less than a quarter of the payload came over the wire.
        is_packed = 4 * self.n_octets < len(octets)
        self.n_octets = 0
        return "echo packed" if is_packed else "echo"

    def ask(self, payload):
        """The octets of a message that is answered with its payload."""
        self.asked = payload
        message = {"id": "1", "payload": payload}
        return json.dumps(message, ensure_ascii=False).encode()

    def text(self, payload, cuts=()):
        """Sends a message, in parts that begin at `cuts`."""
        octets = self.ask(payload)
        edges = [0, *cuts, len(octets)]
        for index, (begin, end) in enumerate(zip(edges, edges[1:])):
            is_last = index == len(edges) - 2
            if index == 0:
                self.protocol.send_text(octets[begin:end], fin=is_last)
            else:
                self.protocol.send_continuation(octets[begin:end], fin=is_last)
        self.flush()

    def answered(self):
        """Reads until one more message has come."""
        n_before = self.answers
        while self.answers == n_before and self.receive():
            pass

    def close(self, code=1000):
        self.protocol.send_close(code)
        self.flush()

    def ended(self):
        """What came until the end of the connection, and what the library holds against it."""
        while self.receive():
            pass
        self.socket.close()
        error = self.protocol.parser_exc
        if error is not None and not isinstance(error, EOFError):
            self.seen.append(f"wrong: {error}")
        return ", ".join(self.seen)


def frame(head, payload=b"", mask=b"\x07\x01\x03\x09", width=None):
    """A frame with this first octet, whatever the rules say. `width`: octets of the length."""
    length = len(payload)
    width = width or (1 if length < 126 else 2 if length < 65536 else 8)
    flag = 0x80 if mask else 0
    number = {1: length, 2: 126, 8: 127}[width] | flag
    lengths = {1: b"", 2: struct.pack("!H", length % 65536), 8: struct.pack("!Q", length)}[width]
    if mask:
        payload = bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))
    return bytes([head, number]) + lengths + (mask or b"") + payload


def say(name, peer):
    print(f"{name}: {peer.ended()}", flush=True)


def raw(name, *frames, path=CALLS, extension=None):
    peer = Peer(path, extension)
    peer.raw(b"".join(frames))
    say(name, peer)


def messages():
    peer = Peer()
    peer.text("héllo")
    peer.answered()
    peer.close()
    say("a message in one piece", peer)

    # Every cut, the one within a character as well.
    peer = Peer()
    for cut in range(1, len(peer.ask("h€llo"))):
        peer.text("h€llo", [cut])
        peer.answered()
    peer.seen = sorted(set(peer.seen))
    peer.close()
    say("a message in two pieces, cut everywhere", peer)

    peer = Peer()
    octets = peer.ask("pieces")
    peer.text("pieces", range(1, len(octets)))
    peer.answered()
    peer.text("empty ones", [0, 0, 5, 5])
    peer.answered()
    peer.close()
    say("a message octet by octet, and one with empty pieces", peer)

    for n_octets in [125, 126, 127, 65_535, 65_536, 1_048_576]:
        peer = Peer()
        padding = n_octets - len(peer.ask(""))
        peer.text("x" * padding)
        peer.answered()
        peer.close()
        say(f"a frame of {n_octets} octets", peer)

    for text in ["\x00", "\u07ff", "\ud7ff", "\ue000", "\ufffe", "\uffff", "\U0010ffff"]:
        peer = Peer()
        peer.text(text)
        peer.answered()
        peer.close()
        say(f"text U+{ord(text):04X}", peer)


def control_frames():
    peer = Peer()
    octets = peer.ask("around")
    peer.protocol.send_text(octets[:9], fin=False)
    peer.protocol.send_ping(b"within")
    peer.flush()
    # Of Pings that wait for their answer only the last needs one (section 5.5.3).
    while not peer.seen and peer.receive():
        pass
    peer.protocol.send_continuation(octets[9:12], fin=False)
    peer.protocol.send_pong(b"unasked")
    peer.protocol.send_ping(b"")
    peer.protocol.send_continuation(octets[12:], fin=True)
    peer.flush()
    peer.answered()
    peer.close()
    say("control frames within a message", peer)

    peer = Peer()
    peer.protocol.send_ping(b"p" * 125)
    peer.flush()
    peer.close()
    say("a Ping of 125 octets", peer)
    raw("a Ping of 126 octets", frame(FINAL | 9, b"p" * 126))
    raw("a Ping in two pieces", frame(9, b"p"), frame(FINAL, b"q"))
    raw("a Pong of 126 octets", frame(FINAL | 10, b"p" * 126))

    peer = Peer()
    peer.close()
    peer.raw(frame(FINAL | 1, peer.ask("too late")))
    say("a message after Close", peer)


def rules():
    asked = b'{"id":"1","payload":1}'
    for name, bit in [("RSV1", RSV1), ("RSV2", RSV2), ("RSV3", RSV3)]:
        raw(f"{name} set", frame(FINAL | bit | 1, asked))
        raw(f"{name} set in a Ping", frame(FINAL | bit | 9))
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]:
        raw(f"opcode {opcode}", frame(FINAL | opcode))
    raw("no mask", frame(FINAL | 1, asked, mask=None))
    raw("no mask on a Ping", frame(FINAL | 9, mask=None))
    raw("a continuation of nothing", frame(FINAL, asked))
    raw("a message within a message", frame(1, b"{"), frame(FINAL | 1, b"}"))
    raw("a length of two octets for 22", frame(FINAL | 1, asked, width=2))
    raw("a length of eight octets for 22", frame(FINAL | 1, asked, width=8))
    raw("a length of 2^63", bytes([FINAL | 1, 0xFF]) + struct.pack("!Q", 1 << 63) + b"mask")
    raw("a length of 10 MiB and one", bytes([FINAL | 2, 0xFF]) + struct.pack("!Q", 10_485_761) + b"mask", path=SESSION)
    raw("binary where text is wanted", frame(FINAL | 2, asked))
    raw("text where octets are wanted", frame(FINAL | 1, asked), path=SESSION)


def text():
    begin, end = b'{"id":"1","payload":"', b'"}'
    for octets in [
        "80", "bf", "c080", "c0af", "c2", "e080af", "e282", "eda080", "edbfbf", "f08080af",
        "f0908d", "f4908080", "f7bfbfbf", "f888808080", "fc8480808080", "fe", "ff",
    ]:
        bad = bytes.fromhex(octets)
        raw(f"text {octets}", frame(FINAL | 1, begin + bad + end))
    # Told before the message is whole.
    raw("text ff in the first of two pieces", frame(1, begin + b"\xff"))
    raw("text e282 and the end", frame(1, begin + b"\xe2\x82"), frame(FINAL, b""))
    raw("a reason that is not UTF-8", frame(FINAL | 8, b"\x03\xe8\xff"))


def closing():
    for code in [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]:
        raw(f"Close {code}", frame(FINAL | 8, struct.pack("!H", code) + "ä".encode()))
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]:
        raw(f"Close {code}", frame(FINAL | 8, struct.pack("!H", code)))
    raw("Close without a code", frame(FINAL | 8))
    raw("Close of one octet", frame(FINAL | 8, b"\x03"))
    raw("Close with a reason of 123 octets", frame(FINAL | 8, b"\x03\xe8" + b"r" * 123))
    raw("Close of 126 octets", frame(FINAL | 8, b"\x03\xe8" + b"r" * 124))
    raw("Close within a message", frame(1, b"{"), frame(FINAL | 8, b"\x03\xe8"))


def pack(octets):
    engine = zlib.compressobj(wbits=-15)
    packed = engine.compress(octets) + engine.flush(zlib.Z_SYNC_FLUSH)
    return packed[:-4]


def compression():
    offers = [{}, {"client_max_window_bits": None}]
    offers += [{"server_no_context_takeover": True}, {"client_no_context_takeover": True}]
    offers += [{"server_max_window_bits": bits} for bits in [8, 9, 12, 15]]
    offers += [{"client_max_window_bits": bits} for bits in [9, 15]]
    for offer in offers:
        named = " ".join(f"{name}={value}" for name, value in offer.items())
        peer = Peer(CALLS, ClientPerMessageDeflateFactory(**offer))
        # Three times, so that a window which is kept where it may not be shows; and in pieces.
        for cuts in [[], [], [7, 7, 5000]]:
            peer.n_octets = 0
            peer.text("packed " * 3000, cuts)
            peer.answered()
        peer.close()
        say(f"permessage-deflate {named}".strip(), peer)

    def packing():
        return ClientPerMessageDeflateFactory()

    peer = Peer(CALLS, packing())
    octets = pack(peer.ask("in pieces"))
    peer.raw(frame(RSV1 | 1, octets[:5]) + frame(FINAL | 9, b"within") + frame(FINAL, octets[5:]))
    peer.answered()
    peer.close()
    say("packed, with a Ping within", peer)

    raw("packed, RSV1 in a continuation", frame(RSV1 | 1, b"\xaa"), frame(FINAL | RSV1, b""), extension=packing())
    raw("packed, RSV1 in a Ping", frame(FINAL | RSV1 | 9), extension=packing())
    raw("packed, broken", frame(FINAL | RSV1 | 1, b"\xff" * 20), extension=packing())
    raw("packed, not UTF-8", frame(FINAL | RSV1 | 1, pack(b'"\xff"')), extension=packing())
    bomb = pack(b" " * 11_000_000)
    raw("packed, 11 MB of blanks", frame(FINAL | RSV1 | 1, bomb), extension=packing())


for part in [messages, control_frames, rules, text, closing, compression]:
    part()
