"""Roles beside services."""

import pytest

from postern import (
    Event,
    Failure,
    Health,
    Identity,
    Instance,
    InvalidArgument,
    NotFound,
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


@pytest.mark.parametrize("given", [True, "serving", 1, Health("well"), Health])
def test_health_that_is_none_is_not_serving(host, given):
    health(lambda: given)
    assert host.health().status == "not-serving"
    assert host.log[-1].level == "error"


@pytest.mark.parametrize("given", [-1, 1.0, "0", True, 2**32, [0]])
def test_a_pick_that_is_no_index_is_left_to_the_gateway(host, given):
    balancer(type("Wrong", (), {"update": lambda self, instances: None, "pick": lambda self, key, candidates: given}))
    assert host.balancing([Instance("a")]).pick(7) is None
    assert f"the balancer picked {given!r}" in host.log[-1].message


@pytest.mark.parametrize(
    "given",
    [
        "ali",
        True,
        Identity(7),
        Identity("ali", "guest"),
        Identity("ali", [7]),
        Identity("ali", [], {"a": 7}),
        Identity("ali", [], None),
        Identity("ali", valid=-1),
        Identity("ali", valid=float("nan")),
        Identity("ali", valid=float("inf")),
        Identity("ali", valid="60"),
    ],
)
def test_an_identity_that_is_none_is_internal(host, given):
    authenticator(lambda shown: given)
    with pytest.raises(Failure, match="internal: (Type|Value|Attribute)Error"):
        host.authenticate("bearer", "x")


def test_text_of_a_role_is_unicode(host):
    authenticator(lambda shown: Identity("\ud800x", ["\udc00"], {"a\ud800": "\ud83d\ude00"}))
    health(lambda: Health.degraded("slow \ud800"))
    assert host.authenticate("bearer", "x") == Identity("\ufffdx", ["\ufffd"], {"a\ufffd": "\U0001f600"})
    assert host.health() == Health.degraded("slow \ufffd")


def test_a_failure_takes_an_exception_for_its_message():
    assert NotFound(KeyError("a")).message == "'a'"
    assert NotFound("half \ud800").message == "half \ufffd"
    assert NotFound("x", details={"half": "\ud800"}).details_json() == '{"half": "\ufffd"}'
