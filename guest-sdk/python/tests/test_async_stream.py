"""Role `async-stream-handler`."""

import asyncio

import pytest

from postern import Cancelled, Failure, Internal, NotFound, OutOfRange, async_stream_handler, call
from postern.call import BodyKind


@pytest.fixture
def shout(host):
    seen = []

    @async_stream_handler
    async def shout(service, method, request):
        call.add_header("x-method", f"{service}/{method}")
        try:
            async for message in request:
                yield message.upper()
            call.add_trailer("x-end", "well")
        except Cancelled:
            seen.append("left")
            raise

    return seen


def test_messages_keep_their_ends_both_ways(host, shout):
    messages = [b"a", b"", b"b" * 200_000, b"c"]
    replies = host.async_stream("echo", "Shout", messages)
    assert replies == [message.upper() for message in messages]
    assert host.reply_headers == [("x-method", "echo/Shout")]
    assert host.reply_trailers == [("x-end", "well")]


def test_octets_go_through_as_they_are(host):
    @async_stream_handler
    async def copy(service, method, request):
        call.set_octets()
        async for piece in request:
            yield piece

    host.context(request_kind=BodyKind.OCTETS)
    assert b"".join(host.async_stream("files", "Copy", [b"x" * 100_000, b"y"])) == b"x" * 100_000 + b"y"


def test_each_message_is_answered_before_the_next_is_taken(host, shout):
    def messages():
        for number in range(3):
            assert len(host.sent) == number
            yield b"m"

    assert host.async_stream("echo", "Shout", messages()) == [b"M"] * 3


def test_a_failure_comes_after_what_was_sent(host):
    @async_stream_handler
    async def two(service, method, request):
        yield b"1"
        yield "2"
        raise OutOfRange("ended after 2")

    with pytest.raises(OutOfRange, match="ended after 2"):
        host.async_stream("count", "Two")
    assert host.sent == [b"1", b"2"]


def test_an_exception_is_internal_and_its_stack_is_logged(host):
    @async_stream_handler
    async def broken(service, method, request):
        await asyncio.sleep(0)
        yield {}["key"]

    with pytest.raises(Internal, match="KeyError"):
        host.async_stream("broken", "Any")
    assert any("KeyError" in line.message for line in host.log)


def test_a_request_that_ends_with_a_failure_raises_it(host, shout):
    with pytest.raises(NotFound, match="gone"):
        host.async_stream("echo", "Shout", [b"a", NotFound("gone")])
    assert host.sent == [b"A"]


def test_a_caller_that_leaves_is_told_at_the_yield(host, shout):
    host.leave_after(1)
    with pytest.raises(Cancelled):
        host.async_stream("echo", "Shout", [b"a", b"b", b"c"])
    assert shout == ["left"] and host.sent == [b"A"]


def test_what_is_no_async_generator_is_refused(host):
    async def plain(service, method, request):
        return None

    with pytest.raises(TypeError, match="no async generator"):
        async_stream_handler(plain)


def test_a_value_that_is_no_message_is_told(host):
    @async_stream_handler
    async def numbers(service, method, request):
        yield 7

    with pytest.raises(Failure, match="a message is bytes or str"):
        host.async_stream("numbers", "Any")
