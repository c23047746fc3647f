"""Roles beside services."""

import pytest

from postern import (
    Event,
    Failure,
    Health,
    Identity,
    Instance,
    InvalidArgument,
    PermissionDenied,
    Reply,
    Unavailable,
    authenticator,
    authorizer,
    balancer,
    call,
    event_handler,
    health,
    kv,
    request_interceptor,
    response_interceptor,
)


def test_an_event_is_handled_with_its_payload(host):
    @event_handler
    def took(event: Event):
        kv.set(event.topic, event.json(dict)["n"])

    host.event("notes.put", {"n": 7})
    assert host.kv == {"notes.put": b"7"}
    with pytest.raises(InvalidArgument):
        host.event("notes.put", b"[")


def test_a_request_goes_on_is_answered_or_refused(host):
    @request_interceptor
    def guard(request):
        if request.method == "Secret":
            raise PermissionDenied("not for you")
        if request.header("x-cached"):
            return Reply({"from": "cache"}, headers={"x-hit": "1"})
        request.set_header("x-mark", "edge")
        request.set_payload({**request.payload(dict), "seen": True})

    passed = host.exchange("users", "Get", {"id": 7}, headers={})
    assert passed.on_request() is False
    assert passed.headers == {"x-mark": "edge"} and passed.payload == b'{"id":7,"seen":true}'
    answered = host.exchange("users", "Get", headers={"x-cached": "1"})
    assert answered.on_request() is True
    assert answered.reply == b'{"from":"cache"}' and answered.reply_headers == {"x-hit": "1"}
    with pytest.raises(PermissionDenied):
        host.exchange("users", "Secret").on_request()


def test_an_interceptor_that_does_not_ask_moves_no_payload(host):
    @request_interceptor
    def look(request):
        request.header("x")

    exchange = host.exchange("users", "Get", {"id": 7})
    exchange.on_request()
    assert exchange.crossings == 0


def test_a_response_is_changed_or_replaced(host):
    @response_interceptor
    def soften(request, response):
        if response.failed and response.failed.kind is Unavailable.kind:
            response.set_payload({"from": "cache"})
        elif response.failed is None:
            response.set_header("x-seconds", str(response.elapsed))
            response.set_payload({"wrapped": response.payload()})

    exchange = host.exchange("users", "Get")
    assert exchange.on_response({"id": 7}, elapsed=0.5) == {"wrapped": {"id": 7}}
    assert exchange.reply_headers == {"x-seconds": "0.5"}
    assert exchange.on_response(failure=Unavailable("down")) == {"from": "cache"}
    with pytest.raises(Failure, match="internal: broken"):
        exchange.on_response(failure=Failure.of("internal", "broken"))


def test_all_functions_of_a_balancer_share_one_object(host):
    @balancer
    class Sticky:
        def __init__(self):
            self.n, self.failed = 0, set()

        def update(self, instances):
            self.n = len(instances)

        def pick(self, key, candidates):
            usable = [i for i in range(self.n) if candidates.usable(i) and i not in self.failed]
            return usable[(key + candidates.random()) % len(usable)] if usable else None

        def done(self, index, outcome, micros):
            if outcome != "success":
                self.failed.add(index)

    placed = host.balancing([Instance("a"), Instance("b"), Instance("c", zone="eu")])
    assert [placed.pick(key) for key in range(4)] == [0, 1, 2, 0]
    assert placed.pick(0, unusable=[0]) == 1 and placed.pick(0, random=2) == 2
    placed.done(1, "timeout", 900)
    assert placed.pick(1) == 2
    assert placed.pick(0, unusable=[0, 1, 2]) is None


def test_a_balancer_that_raises_leaves_the_pick_to_the_gateway(host):
    @balancer
    class Broken:
        def update(self, instances):
            pass

        def pick(self, key, candidates):
            return 1 // 0

    assert host.balancing([Instance("a")]).pick(7) is None
    assert "ZeroDivisionError" in host.log[-1].message


def test_a_class_that_cannot_pick_is_no_balancer():
    with pytest.raises(TypeError, match="the balancer Empty has no function `update`"):
        balancer(type("Empty", (), {}))


def test_health_is_asked(host):
    @health
    def check():
        return Health.degraded("slow") if kv.get("slow") else None

    assert host.health() == Health.serving()
    kv.set("slow", True)
    assert host.health() == Health.degraded("slow")
    host.fail_kv(Unavailable("no disk"))
    assert host.health() == Health.not_serving("unavailable: no disk")


def test_callers_are_known_and_judged(host):
    @authenticator
    def who(shown):
        if shown.scheme == "api-key" and shown.token == "open sesame":
            return Identity("ali", ["guest"], {"tenant": "acme"}, valid=60)

    @authorizer
    def may(service, method):
        if call.claim("tenant") is None:
            raise PermissionDenied(service)

    assert host.authenticate("api-key", "open sesame").claims == {"tenant": "acme"}
    assert host.authenticate("bearer", "x") is None
    with pytest.raises(PermissionDenied):
        host.authorize("users", "Get")
    host.context(claims={"tenant": "acme"}).authorize("users", "Get")


def test_a_role_is_given_once():
    event_handler(print)
    with pytest.raises(ValueError, match="two functions or classes have the role event_handler"):
        event_handler(print)
