"""What callers, tasks and values do wrongly: none of it reaches another call or ends the instance."""

import asyncio
from dataclasses import dataclass
from typing import AsyncIterator

import pytest

from postern import Failure, InvalidArgument, Service, call, kv, log


def test_text_goes_out_as_unicode(host):
    plugin = Service("plugin")

    @plugin.method
    def tell(half: str) -> str:
        log.info(half, half=half)
        kv.set(half, half)
        kv.set_octets("octets", half)
        call.add_header("half", half)
        return half

    @plugin.method
    def octets(half: str) -> bytes:
        return half

    reply = host.call_octets(plugin, "Tell", b'"\\ud800x"')
    assert reply == b'"\\ud800x"'
    assert (host.log[-1].message, host.log[-1].fields) == ("\ufffdx", {"half": "\ufffdx"})
    assert host.kv == {"\ufffdx": b'"\\ud800x"', "octets": "\ufffdx".encode()}
    assert host.reply_headers == [("half", "\ufffdx")]
    assert host.call_octets(plugin, "Octets", b'"\\ud800x"') == "\ufffdx".encode()


def test_what_is_no_text_is_refused_as_the_host_refuses_it(host):
    plugin = Service("plugin")

    @plugin.method
    def tell() -> None:
        call.add_header("size", 7)

    with pytest.raises(Failure, match="internal: TypeError: expected text, found int"):
        host.call(plugin, "Tell", None)


def test_an_exception_that_cannot_say_what_it_is_is_internal(host):
    plugin = Service("plugin")

    class Mute(Exception):
        def __str__(self):
            raise ValueError

    @plugin.method
    def fail() -> None:
        raise Mute

    with pytest.raises(Failure, match="internal: Mute"):
        host.call(plugin, "Fail", None)


def test_what_an_async_call_leaves_behind_does_not_run_in_the_next(host):
    plugin = Service("plugin")
    seen = []

    async def late(name: str) -> None:
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            seen.append((name, call.header("name")))
        finally:
            seen.append((name, call.header("name"), "cancelled"))

    @plugin.method
    async def leave(name: str) -> None:
        loop = asyncio.get_running_loop()
        loop.late = loop.create_task(late(name))
        loop.call_later(0.002, seen.append, name)
        await asyncio.sleep(0)

    @plugin.method
    async def wait() -> None:
        await asyncio.sleep(0.005)

    @plugin.method
    async def each() -> AsyncIterator[int]:
        task = asyncio.create_task(asyncio.sleep(0.001, 7))
        yield 1
        yield await task

    host.context(headers={"name": "ali"}).call(plugin, "Leave", "ali")
    host.context(headers={"name": "bo"}).call(plugin, "Wait", None)
    assert seen == [("ali", "ali", "cancelled")]
    assert [line.message for line in host.log] == ["1 tasks were still waiting when the call ended; they are cancelled"]
    assert host.stream(plugin, "Each", [None]) == [1, 7]


def test_a_task_that_is_not_cancelled_does_not_end_the_plugin(host):
    plugin = Service("plugin")

    @plugin.method
    async def leave() -> int:
        async def stubborn():
            while True:
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    pass

        asyncio.get_running_loop().kept = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        return 1

    assert [host.call(plugin, "Leave", None) for _ in range(3)] == [1, 1, 1]


def test_a_default_is_not_shared_between_calls(host):
    plugin = Service("plugin")

    @plugin.method
    def add(item: int, items: list[int] = []) -> list[int]:
        items.append(item)
        return items

    assert [host.call(plugin, "Add", {"item": n}) for n in (1, 2)] == [[1], [2]]


@pytest.mark.parametrize(
    ("hint", "body"),
    [
        (float, b"1" * 400),
        (float, b"1e400"),
        (float, b"NaN"),
        (int, b"Infinity"),
        (dict, b'{"a":-Infinity}'),
        (set[list[int]], b"[[1]]"),
        (set, b"[{}]"),
        (frozenset[dict], b"[{}]"),
    ],
)
def test_what_a_caller_sends_wrongly_is_an_invalid_argument(host, hint, body):
    plugin = Service("plugin")

    @plugin.method
    def take(value: hint) -> None:
        pass

    with pytest.raises(InvalidArgument):
        host.call_octets(plugin, "Take", body)


@dataclass
class Link:
    next: "Link | None" = None


def test_a_message_that_is_nested_too_deeply_for_its_type_is_an_invalid_argument(host):
    plugin = Service("plugin")

    @plugin.method
    def take(link: Link) -> None:
        pass

    with pytest.raises(InvalidArgument, match="nested too deeply"):
        host.call_octets(plugin, "Take", b'{"next":' * 900 + b"{}" + b"}" * 900)
