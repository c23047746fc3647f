"""Roles beside services."""

import pytest

from postern import (
    Event,
    Failure,
    FailedPrecondition,
    Frame,
    FrameHead,
    Health,
    Identity,
    Instance,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Reply,
    Service,
    Unavailable,
    Verdict,
    authenticator,
    authorizer,
    balancer,
    call,
    event_handler,
    frame_extension,
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


def test_a_frame_goes_on_changed_or_is_dropped_or_refused(host):
    @frame_extension
    class Stamp:
        def __init__(self):
            self.n = 0

        def should_handle(self, head: FrameHead) -> bool:
            return head.direction == "inbound" and head.payload_bytes > 0

        def handle_frame(self, frame: Frame) -> Verdict | None:
            self.n += 1
            if frame.header("x-drop"):
                return Verdict.DROP
            if frame.payload() == b"bad":
                raise InvalidArgument("bad")
            frame.set_header("x-a", str(self.n))
            frame.add_header("x-b", "2")
            frame.remove_header("x-c")
            frame.set_payload(frame.payload().upper())
            return None if self.n == 1 else Verdict.PASS

    passed = host.frame(headers={"x-a": "0", "x-b": "1", "x-c": "3"}, payload=b"a")
    assert passed.enter() is Verdict.PASS
    assert passed.headers == [("x-b", "1"), ("x-a", "1"), ("x-b", "2")]
    assert (passed.payload, passed.crossings, passed.is_seen) == (b"A", 3, True)
    assert host.frame(payload=b"b", headers={"x-drop": "1"}).enter() is Verdict.DROP
    with pytest.raises(InvalidArgument, match="bad"):
        host.frame(payload=b"bad").enter()
    outbound = host.frame("data", "outbound", payload=b"a")
    assert outbound.enter() is Verdict.PASS
    assert (outbound.is_seen, outbound.crossings) == (False, 0)
    with pytest.raises(FailedPrecondition, match="no frame is handled"):
        Frame().set_header("x", "y")
    assert Frame().headers() == [] and Frame().payload() == b""


def test_the_bounds_of_a_frame_are_the_gateways(host):
    @frame_extension
    class Wide:
        def should_handle(self, head):
            return True

        def handle_frame(self, frame):
            with pytest.raises(InvalidArgument, match="header name of 0 octets"):
                frame.add_header("", "x")
            with pytest.raises(InvalidArgument, match="exceed the limit of 65535"):
                frame.set_header("x", "y" * 65_535)
            with pytest.raises(Failure, match="payload of 8388609 octets exceeds the limit of 8388608"):
                frame.set_payload(bytes(8_388_609))

    frame = host.frame(headers={"x": "1"}, payload=b"a")
    assert frame.enter() is Verdict.PASS
    assert (frame.headers, frame.payload) == ([("x", "1")], b"a")


@pytest.mark.parametrize("given", [None, 1, "yes"])
def test_a_frame_of_which_is_not_told_whether_it_is_wanted_goes_on(host, given):
    def handle_frame(self, frame):
        raise AssertionError("it is not handed over")

    frame_extension(type("Vague", (), {"should_handle": lambda self, head: given, "handle_frame": handle_frame}))
    assert host.frame().enter() is Verdict.PASS
    assert "should_handle gave" in host.log[-1].message


def test_a_verdict_that_is_none_refuses_the_frame(host):
    frame_extension(type("Wrong", (), {"should_handle": lambda self, head: True, "handle_frame": lambda self, frame: "drop"}))
    with pytest.raises(Failure, match="internal: TypeError: the frame extension gave str"):
        host.frame().enter()


def test_a_class_that_sees_no_frames_is_no_frame_extension():
    with pytest.raises(TypeError, match="the frame extension Empty has no function `should_handle`"):
        frame_extension(type("Empty", (), {}))


def test_what_was_added_before_a_failure_is_kept(host):
    failing = Service("failing")

    @failing.method
    def fail() -> None:
        call.add_header("x-first", "1")
        call.add_trailer("x-last", "2")
        raise NotFound("nothing")

    with pytest.raises(NotFound):
        host.call(failing, "Fail")
    assert host.reply_headers == [("x-first", "1")]
    assert host.reply_trailers == [("x-last", "2")]
