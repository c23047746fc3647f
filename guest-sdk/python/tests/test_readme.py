"""The examples of README.md are run as they stand there."""

import re
from pathlib import Path

from postern import (
    Candidates,
    Event,
    Frame,
    FrameHead,
    Instance,
    Reply,
    Request,
    Response,
    Verdict,
    balancer,
    event_handler,
    frame_extension,
    log,
    request_interceptor,
    response_interceptor,
)
from postern.testing import Host

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_examples_do_what_is_said_of_them(monkeypatch):
    service, roles, unit_test = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(service, "README.md", "exec"), names)
    exec(compile(unit_test, "README.md", "exec"), names)
    names["test_a_note_is_found_again"]()
    imported = [Candidates, Event, Frame, FrameHead, Instance, Reply, Request, Response, Verdict, balancer, event_handler]
    imported += [frame_extension, request_interceptor, response_interceptor]
    names |= {each.__name__: each for each in imported} | {"log": log}
    exec(compile(roles, "README.md", "exec"), names)
    with Host() as host:
        host.event("orders.new", {})
        assert host.kv == {"orders.new": b"1"}
        exchange = host.exchange("users", "Get")
        assert exchange.on_request() is False and exchange.headers == {"x-mark": "edge"}
        exchange.on_response({}, elapsed=0.5)
        assert host.log[-1].message == "0.5"
        assert host.balancing([Instance("a"), Instance("b")]).pick(1, unusable=[1]) == 0
        assert host.frame(headers={"x-debug": "1"}).enter() is Verdict.DROP
        assert host.frame("data", "outbound", headers={"x-debug": "1"}).enter() is Verdict.PASS
