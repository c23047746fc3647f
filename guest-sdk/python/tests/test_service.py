"""Methods: hints in, messages out, failures by kind."""

import asyncio
import logging
from dataclasses import dataclass
from typing import AsyncIterator, Iterator

import pytest

from postern import (
    Cancelled,
    FailedPrecondition,
    Failure,
    Internal,
    InvalidArgument,
    Kind,
    NotFound,
    PermissionDenied,
    Service,
    call,
    client,
    config,
    events,
    kv,
    log,
    on_start,
)
from postern.call import Http, Peer, Principal
from postern.testing import ClientCall, Host, Line, Published


@dataclass
class Note:
    """A note by its key."""

    key: str
    text: str = ""


@dataclass
class Number:
    value: int


def test_a_message_becomes_the_argument_and_the_result_a_message(host):
    notes = Service("notes")

    @notes.method
    def swap_ends(note: Note) -> Note:
        return Note(note.text, note.key)

    assert host.call_octets(notes, "SwapEnds", '{"key":"a","text":"ü","x":1}'.encode()) == '{"key":"ü","text":"a"}'.encode()


def test_several_parameters_are_the_members_of_an_object(host):
    sums = Service("sums")

    @sums.method
    def add(left: int, right: int = 40) -> int:
        return left + right

    assert host.call(sums, "Add", {"left": 2}) == 42
    assert host.call(sums, "Add", {"left": 2, "right": 3}) == 5
    with pytest.raises(InvalidArgument, match="field `left` is missing"):
        host.call(sums, "Add", {})


def test_octets_are_passed_as_they_are(host):
    blobs = Service("blobs")

    @blobs.method
    def echo(body: bytes) -> bytes:
        return memoryview(body)

    assert host.call_octets(blobs, "Echo", bytes(range(256))) == bytes(range(256))


def test_a_method_without_parameters_takes_any_message(host):
    times = Service("times")

    @times.method
    def now() -> str:
        return "noon"

    assert host.call_octets(times, "Now", b"") == b'"noon"'
    assert host.call_octets(times, "Now", b"{}") == b'"noon"'


def test_what_cannot_be_read_is_an_invalid_argument_with_its_place(host):
    sums = Service("sums")

    @sums.method
    def total(values: list[Number]) -> int:
        return sum(number.value for number in values)

    def fault(body):
        with pytest.raises(InvalidArgument) as raised:
            host.call_octets(sums, "Total", body)
        return raised.value.message

    assert fault(b'[{"value":1},{"value":"x"}]') == "`[1].value`: expected an integer, found a string"
    assert fault(b'[{"value":1},{}]') == "`[1]`: field `value` is missing"
    assert fault(b"{}") == "expected a list, found an object"
    assert fault(b"[").startswith("the message is no JSON: ")
    assert fault(b'"\xff"').startswith("the message is not UTF-8: ")
    assert fault(b"[" * 100_000) == "the message is nested too deeply"


def test_an_unknown_method_is_not_found_and_names_the_known_ones(host):
    notes = Service("notes")
    notes.method(lambda: None, name="Put")
    with pytest.raises(NotFound, match="service `notes` has no method `Get`; it has `Put`"):
        host.call(notes, "Get")


def test_a_fallback_answers_the_rest(host):
    notes = Service("notes")

    @notes.fallback
    def other(method: str, body: bytes) -> bytes:
        return method.encode() + body

    assert host.call_octets(notes, "Any", b"!") == b"Any!"


@pytest.mark.parametrize("kind", Kind)
def test_a_failure_keeps_kind_message_and_details(host, kind):
    refusals = Service("refusals")

    @refusals.method
    def refuse(name: str) -> None:
        raise Failure.of(name, "no user `7`", details={"id": 7})

    with pytest.raises(Failure) as raised:
        host.call(refusals, "Refuse", kind.value)
    assert raised.value == Failure.of(kind, "no user `7`", details={"id": 7})
    assert type(raised.value) is not Failure


def test_an_exception_is_an_internal_failure_and_its_stack_is_logged(host):
    broken = Service("broken")

    @broken.method
    def divide(number: int) -> int:
        return 1 // number

    with pytest.raises(Internal) as raised:
        host.call(broken, "Divide", 0)
    assert raised.value.message.startswith("ZeroDivisionError: ")
    line = host.log[-1]
    assert line.level == "error" and "in divide" in line.message
    assert host.call(broken, "Divide", 1) == 1


def test_leaving_the_interpreter_is_an_internal_failure(host):
    broken = Service("broken")

    @broken.method
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(Internal, match="SystemExit: 3"):
        host.call(broken, "Leave")


def test_a_result_of_another_type_is_an_internal_failure(host):
    notes = Service("notes")

    @notes.method
    def find(key: str) -> Note:
        return key

    with pytest.raises(Internal, match="method Find gave str, declared is Note"):
        host.call(notes, "Find", "a")


def test_a_generator_sends_message_after_message(host):
    numbers = Service("numbers")

    @numbers.method
    def count(to: int) -> Iterator[Number]:
        call.add_header("x-first", "1")
        for value in range(1, to + 1):
            yield Number(value)
        call.add_trailer("x-count", str(to))

    assert host.stream(numbers, "Count", [2]) == [{"value": 1}, {"value": 2}]
    assert (host.reply_headers, host.reply_trailers) == ([("x-first", "1")], [("x-count", "2")])
    assert host.stream(numbers, "Count", [0]) == []


def test_an_iterator_takes_message_after_message(host):
    numbers = Service("numbers")

    @numbers.method
    def total(numbers: Iterator[Number]) -> int:
        return sum(number.value for number in numbers)

    assert host.stream(numbers, "Total", [{"value": 1}, {"value": 41}]) == [42]
    assert host.stream(numbers, "Total") == [0]
    with pytest.raises(InvalidArgument):
        host.stream(numbers, "Total", [{"value": 1}, {"value": None}])
    with pytest.raises(Cancelled):
        host.stream(numbers, "Total", [{"value": 1}, Cancelled("gone")])


def test_a_reply_leaves_before_the_next_message_is_taken(host):
    lines = Service("lines")

    @lines.method
    def chat(lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            yield line.upper()

    def turns():
        yield "a"
        assert host.sent == [b'"A"']
        yield "b"

    assert host.stream(lines, "Chat", turns()) == ["A", "B"]


def test_a_stream_whose_caller_leaves_cleans_up(host):
    numbers, seen = Service("numbers"), []

    @numbers.method
    def forever() -> Iterator[int]:
        try:
            while True:
                yield 1
        except Cancelled as failure:
            seen.append(failure.message)
            raise

    with pytest.raises(Cancelled):
        host.leave_after(2).stream(numbers, "Forever")
    assert seen == ["the caller has left"] and host.sent == [b"1", b"1"]


def test_a_unary_method_may_be_called_as_a_stream_of_one(host):
    notes = Service("notes")

    @notes.method
    def double(number: int) -> int:
        return number * 2

    assert host.stream(notes, "Double", [21]) == [42]


def test_async_functions_run_to_their_end(host):
    slow = Service("slow")

    @slow.method
    async def both(n: int) -> list[int]:
        async def one(value):
            await asyncio.sleep(0.001)
            return value

        return await asyncio.gather(one(n), one(n + 1))

    @slow.method
    async def echo(lines: AsyncIterator[str]) -> AsyncIterator[str]:
        async for line in lines:
            await asyncio.sleep(0)
            yield line

    @slow.method
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    assert host.call(slow, "Both", 1) == [1, 2]
    assert host.stream(slow, "Echo", ["a", "b"]) == ["a", "b"]
    with pytest.raises(Internal, match="awaits something that nothing completes"):
        host.call(slow, "Never")
    assert host.call(slow, "Both", 2) == [2, 3]


def test_a_method_knows_its_call(host):
    who = Service("who")

    @who.method
    def ask() -> list:
        peer, principal, http = call.peer(), call.principal(), call.http()
        call.set_status(201)
        return [call.header("x-a"), call.header("x-b"), peer.address, principal.roles, call.claim("t"), http.path, call.remaining()]

    host.context(
        headers={"x-a": "1", "x-b": b"\xff"},
        peer=Peer("tcp", "127.0.0.1:1"),
        principal=Principal("ali", ["guest"]),
        claims={"t": "acme"},
        http=Http(path="/a"),
        remaining=0.25,
    )
    assert host.call(who, "Ask") == ["1", None, "127.0.0.1:1", ["guest"], "acme", "/a", 0.25]
    assert host.reply_status == 201


def test_what_is_set_too_late_or_too_large_is_refused(host):
    late = Service("late")

    @late.method
    def status() -> Iterator[int]:
        yield 1
        call.set_status(201)

    @late.method
    def header(length: int) -> None:
        call.add_header("n" * length, "v")

    with pytest.raises(FailedPrecondition):
        host.stream(late, "Status")
    assert host.call(late, "Header", 255) is None
    with pytest.raises(InvalidArgument, match="header name of 256 octets"):
        host.call(late, "Header", 256)


def test_the_store_keeps_typed_values(host):
    kv.set("a", Note("a", "b"))
    assert kv.get("a", Note) == Note("a", "b") and kv.get("b", Note) is None
    assert kv.update("n", lambda n: (n or 0) + 1, int) == 1
    assert kv.update("n", lambda n: n + 1, int) == 2
    assert kv.insert("n", 9) is False
    assert kv.keys() == ["a", "n"] and kv.keys(after="a") == ["n"]
    assert kv.delete("a") and not kv.delete("a")
    with pytest.raises(InvalidArgument, match="key of 1025 octets"):
        kv.get("k" * 1025)
    with pytest.raises(InvalidArgument, match="value of 1048577 octets"):
        kv.set_octets("k", bytes(1048577))
    kv.set_octets("k", bytes(1048576))
    with pytest.raises(Failure, match="data-loss: the value of key `n` cannot be read: expected a string"):
        kv.get("n", str)


def test_settings_are_read_as_what_is_asked_for():
    with Host(config={"name": "42", "limit": 42, "on": True, "list": ["a"]}):
        assert config.get("name") == "42" and config.get("limit", int) == 42
        assert config.get("on", bool) is True and config.get("list", list[str]) == ["a"]
        assert config.get("absent", int, 7) == 7
        with pytest.raises(FailedPrecondition, match="config key `on` has value `true`, not integer"):
            config.get("on", int)
        with pytest.raises(FailedPrecondition, match="config key `absent` is missing"):
            config.require("absent", int)


def test_other_services_are_called_as_far_as_they_are_granted(host):
    host.answer("users", "Get", {"name": "Ada"})
    host.answer("users", "Delete", NotFound("no user `7`"))
    host.answer("users", "Echo", lambda made: made.body)
    assert client.call("users", "Get", 7, dict, headers={"x": "1"}, timeout=0.5) == {"name": "Ada"}
    assert host.client_calls == [ClientCall("users", "Get", b"7", {"x": "1"}, 0.5)]
    assert client.call_octets("users", "Echo", b"\xff") == b"\xff"
    with pytest.raises(NotFound, match="no user `7`"):
        client.call("users", "Delete", 7)
    with pytest.raises(PermissionDenied, match="service `secrets` is not granted"):
        client.call("secrets", "Get")
    with pytest.raises(Internal, match="the reply of `users/Get` cannot be read"):
        client.call("users", "Get", 7, int)


def test_events_are_published_on_granted_topics(host):
    host.topic("notes.put", subscribers=2)
    assert events.publish("notes.put", {"n": 1}) == 2
    assert host.published == [Published("notes.put", b'{"n":1}', "application/json")]
    with pytest.raises(PermissionDenied):
        events.publish("other", 1)


def test_lines_have_levels_and_fields_and_logging_arrives_too(host):
    host.log_level("info")
    log.debug("not kept %s", object())
    log.info("read %d rows", 3, user=7)
    logging.getLogger("lib").warning("slow %s", "disk")
    assert host.log == [Line("info", "read 3 rows", {"user": "7"}), Line("warn", "slow disk", {"logger": "lib"})]


def test_a_start_that_fails_fails_calls_and_health(host):
    notes = Service("notes")
    notes.method(lambda: None, name="Put")
    tries = []

    @on_start
    def start():
        tries.append(1)
        config.require("url")

    with pytest.raises(FailedPrecondition, match="config key `url` is missing"):
        host.call(notes, "Put")
    assert host.health().status == "not-serving" and len(tries) == 1


def test_outside_of_a_call_the_host_is_absent():
    with pytest.raises(RuntimeError, match="the host is asked for `config_get` outside of a call"):
        config.get("word")


def test_what_is_described_comes_from_the_hints():
    notes = Service("notes", version="1.2.0", summary="Notes.")

    @notes.method(idempotent=True)
    def find(key: str) -> Note | None:
        """Finds a note,
        by its key.

        At length."""

    @notes.method
    def all(after: str = "", limit: int = 10) -> Iterator[Note]: ...

    found, listed = notes.all_methods()
    assert (found.summary, found.idempotent, found.kind) == ("Finds a note, by its key.", True, "unary")
    assert listed.kind == "server-stream"
    schemas = notes.schemas()
    assert list(schemas) == ["string", "NoteOrNull", "AllRequest", "Note"]
    assert '"description":"A note by its key."' in schemas["Note"] and '"required":["key"]' in schemas["Note"]
    assert '"$ref":"#/$defs/Note"' in schemas["NoteOrNull"]
    assert '"required"' not in schemas["AllRequest"]
