"""Makes the calls of `tests/vectors/guests.json` over gRPC, by the C core, at a guest without a schema:

    python3 table.py 127.0.0.1:8080 python

Messages are the octets that the guest reads and writes. A line for each case, `NAME: ok` or what came.
"""

import json
import pathlib
import queue
import sys
import time

import grpc
from google.protobuf import json_format, struct_pb2
from grpc_status import rpc_status

TABLE = pathlib.Path(__file__).parents[2] / "vectors"
sys.path.append(str(TABLE))
from guests import Unexpected, octets, spread  # noqa: E402

ADDRESS, LANGUAGE = sys.argv[1:]
# Seconds within which a case has to be over, but for its own time-out.
PATIENCE = 30
LENGTHS = [("grpc.max_receive_message_length", -1)]


def written(message):
    if "json" in message:
        return json.dumps(message["json"], separators=(",", ":")).encode()
    return octets(message)


def check_message(expected, found):
    value = json.loads(found or b"null") if "json" in expected else found
    if value != expected.get("json", octets(expected)):
        raise Unexpected(f"message {str(value)[:200]}, expected {str(expected)[:200]}")


def check_metadata(expected, found):
    for name, value in (expected or {}).items():
        if (name, value) not in [(key, value) for key, value in found or ()]:
            raise Unexpected(f"metadata {found}, expected {name}: {value}")


def check_failure(expected, error, method):
    kind = error.code().name.lower().replace("_", "-")
    # What has no such method has not implemented it.
    kinds = [expected["kind"], "unimplemented"] if method == "Nothing" else [expected["kind"]]
    is_right = kind in kinds
    # A deadline that passes is told by the client itself.
    if kind not in ("deadline-exceeded", "unimplemented"):
        is_right &= expected.get("message", error.details()) == error.details()
        is_right &= expected.get("message-has", "") in error.details()
    if "details" in expected:
        value = struct_pb2.Value()
        is_right &= rpc_status.from_call(error).details[0].Unpack(value)
        is_right &= json_format.MessageToDict(value) == expected["details"]
    if not is_right:
        raise Unexpected(f"failure {kind} {error.details()}, expected {expected}")


def call(channel, service, case):
    """One call, from its first message to the end of its reply."""
    expected = case["expect"]
    left = list(spread(expected.get("messages", [])))
    requests = queue.SimpleQueue()
    sent = [written(message) for message in spread(case["send"])]
    is_in_turn = case.get("in-turn") or case.get("leave") or case.get("open")
    metadata = list(case.get("headers", {}).items())
    timeout = case.get("timeout-ms", PATIENCE * 1000) / 1000
    calling = channel.stream_stream(f"/{service}/{case['method']}")
    replies = calling(iter(requests.get, None), timeout=timeout, metadata=metadata)

    def take():
        found = next(replies)
        if not left:
            raise Unexpected(f"one message too many: {str(found)[:200]}")
        check_message(left.pop(0), found)

    try:
        for message in sent:
            requests.put(message)
            if is_in_turn:
                take()
        if case.get("leave"):
            replies.cancel()
            return
        if not case.get("open"):
            requests.put(None)
        try:
            while True:
                take()
        except StopIteration:
            pass
    except grpc.RpcError as error:
        if "failure" not in expected:
            raise
        check_failure(expected["failure"], error, case["method"])
        return
    finally:
        requests.put(None)
    if "failure" in expected or left:
        raise Unexpected(f"no failure, {len(left)} messages are missing")
    check_metadata(expected.get("headers"), replies.initial_metadata())
    check_metadata(expected.get("trailers"), replies.trailing_metadata())


def run_case(channel, service, case):
    deadline = time.monotonic() + case.get("within-ms", 0) / 1000
    while True:
        try:
            return call(channel, service, case)
        except Unexpected:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main():
    table = json.loads((TABLE / "guests.json").read_text().replace("{lang}", LANGUAGE))
    with grpc.insecure_channel(ADDRESS, LENGTHS) as channel:
        for case in table["cases"]:
            if LANGUAGE not in case.get("languages", [LANGUAGE]):
                continue
            try:
                run_case(channel, table["service"], case)
                print(f"{case['name']}: ok", flush=True)
            except (Unexpected, grpc.RpcError, ValueError) as error:
                told = " ".join(f"{type(error).__name__} {error}".split())
                print(f"{case['name']}: {told[:500]}", flush=True)


if __name__ == "__main__":
    main()
