"""Makes the calls of guests.json over WebSocket and compares what comes back:

    python3 guests.py ws://127.0.0.1:8080 python

Another table of the same form may be named after the language. A line for each case, `ok` or `FAILED` with what came; exit code 1 when one failed.
"""

import asyncio
import base64
import json
import pathlib
import sys

import websockets

CASES = pathlib.Path(__file__).with_name("guests.json")
#: Seconds within which a case has to be over, but for its own time-out.
PATIENCE = 30


class Unexpected(Exception):
    """What came is not what the table says."""


class Connection:
    """One WebSocket; replies are sorted by the id of their call."""

    def __init__(self, socket):
        self.socket = socket
        self.queues = {}
        self.reader = asyncio.ensure_future(self.read())

    async def read(self):
        async for text in self.socket:
            message = json.loads(text)
            self.queues.setdefault(message.get("id"), asyncio.Queue()).put_nowait(message)

    async def send(self, message):
        # A guest may hand a part of it on as it is written.
        await self.socket.send(json.dumps(message, separators=(",", ":")))

    async def take(self, id):
        return await asyncio.wait_for(self.queues.setdefault(id, asyncio.Queue()).get(), PATIENCE)


def octets(message):
    """The octets of a message of the table; None where it is compared as JSON."""
    if "text" in message:
        return message["text"].encode()
    if "hex" in message:
        return bytes.fromhex(message["hex"])
    return bytes([message["fill"]]) * message["length"] if "fill" in message else None


def spread(messages):
    """`times` and `counting` written out."""
    for message in messages:
        if "counting" in message:
            yield from ({"json": {"value": n + 1}} for n in range(message["counting"]))
        else:
            yield from [message] * message.get("times", 1)


def payload(message):
    """The members of a message to the gateway."""
    if "json" in message:
        return {"payload": message["json"]}
    return {"payload-base64": base64.b64encode(octets(message)).decode()}


def check_payload(expected, found):
    if "json" in expected:
        if "payload" in found:
            value = found["payload"]
        else:
            value = json.loads(base64.b64decode(found.get("payload-base64", "")) or b"null")
        is_equal = value == expected["json"]
    else:
        if "payload-base64" in found:
            value = base64.b64decode(found["payload-base64"])
        else:
            value = found["payload"].encode() if found.get("payload") else b""
        is_equal = value == octets(expected)
    if not is_equal:
        raise Unexpected(f"message {str(value)[:200]}, expected {str(expected)[:200]}")


def check_failure(expected, found):
    is_right = found["status"] == expected["kind"]
    is_right &= expected.get("message", found["error"]) == found["error"]
    is_right &= expected.get("message-has", "") in found["error"]
    is_right &= "details" not in expected or expected["details"] == found.get("details")
    if not is_right:
        raise Unexpected(f"failure {found}, expected {expected}")


def check_headers(expected, found):
    found = {name.lower(): value for name, value in (found or {}).items()}
    for name, value in (expected or {}).items():
        if found.get(name) != value:
            raise Unexpected(f"headers {found}, expected {name}: {value}")


async def call(connection, id, service, case):
    """One call, from its first message to the end of its reply."""
    headers = dict(case.get("headers", {}))
    if "timeout-ms" in case:
        headers["timeout-ms"] = str(case["timeout-ms"])
    sent = list(spread(case["send"]))
    if any("json" not in message for message in sent):
        headers["content-type"] = "application/octet-stream"
    target = {"id": id, "service": service, "method": case["method"], "headers": headers}
    reply = Reply(connection, id, case["expect"])
    if case["kind"] in ("unary", "server-stream"):
        await connection.send({**target, **payload(sent[0])})
    else:
        await connection.send({**target, "type": "open"})
        for message in sent:
            await connection.send({"type": "item", "id": id, **payload(message)})
            if case.get("in-turn") or case.get("leave") or case.get("open"):
                await reply.take_message()
        if case.get("leave"):
            await connection.send({"type": "reset", "id": id})
            return
        if not case.get("open"):
            await connection.send({"type": "end", "id": id})
    await reply.take_rest()


class Reply:
    """What came of a call so far, held against what is expected."""

    def __init__(self, connection, id, expected):
        self.connection = connection
        self.id = id
        self.expected = expected
        self.left = list(spread(expected.get("messages", [])))

    async def take(self):
        """Takes one message of the gateway. Whether it was the last."""
        found = await self.connection.take(self.id)
        kind = found.get("type")
        if kind in ("response", "open"):
            check_headers(self.expected.get("headers"), found.get("headers"))
        if kind == "open":
            return False
        if kind == "error":
            if "failure" not in self.expected:
                raise Unexpected(f"failure {found}")
            check_failure(self.expected["failure"], found)
            return True
        if kind in ("response", "item"):
            if not self.left:
                raise Unexpected(f"one message too many: {str(found)[:200]}")
            check_payload(self.left.pop(0), found)
        if kind == "end":
            check_headers(self.expected.get("trailers"), found.get("headers"))
        return kind in ("response", "end")

    async def take_message(self):
        """Until one message of the reply has come."""
        count = len(self.left)
        while len(self.left) == count:
            if await self.take():
                return

    async def take_rest(self):
        while not await self.take():
            pass
        if self.left:
            raise Unexpected(f"{len(self.left)} messages are missing")


async def run_case(connection, id, service, case):
    deadline = asyncio.get_running_loop().time() + case.get("within-ms", 0) / 1000
    for attempt in range(10_000):
        try:
            calls = (call(connection, f"{id}.{attempt}.{n}", service, case) for n in range(case.get("calls", 1)))
            await asyncio.gather(*calls)
            return
        except Unexpected:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)


async def main(address, language, cases=CASES):
    table = json.loads(pathlib.Path(cases).read_text().replace("{lang}", language))
    failed = 0
    count = 0
    async with websockets.connect(f"{address}/ws/{table['service']}/Echo", subprotocols=["vstp.json"], max_size=None) as socket:
        connection = Connection(socket)
        for number, case in enumerate(table["cases"]):
            if language not in case.get("languages", [language]):
                continue
            count += 1
            try:
                await run_case(connection, number, table["service"], case)
                print(f"ok {case['name']}")
            except (Unexpected, asyncio.TimeoutError, KeyError, ValueError) as error:
                failed += 1
                print(f"FAILED {case['name']}: {type(error).__name__} {error}")
        connection.reader.cancel()
    print(f"{count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
