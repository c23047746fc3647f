"""Publishes that are calls, and replies. Prints `case: ok`, or what was wrong. calls.py HOST PORT"""

import json
import sys
import time

from client import V3, V5, Client, case, equal, run

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def told(message):
    """Status, payload and other user properties of a reply."""
    given = dict(message.properties.UserProperty)
    return given.pop("status"), message.payload.decode(), given


def ask(client, topic, payload="", qos=1, **given):
    given = {"ResponseTopic": "replies/a", "CorrelationData": b"\x00\x07", **given}
    client.publish(topic, payload, qos, **given)
    message = client.message()
    equal(message.topic, "replies/a")
    equal(message.properties.CorrelationData, b"\x00\x07")
    return message


def asker(address):
    client = Client(address)
    client.subscribe("replies/#", 2)
    return client


@case()
def any_method_may_be_called(address, version):
    client = asker(address)
    for qos in (0, 1, 2):
        message = ask(client, "$call/echo/Echo", '{"a":1}', qos, ContentType="application/json")
        equal(told(message)[:2], ("success", '{"a":1}'))
        equal(message.qos, qos)
    client.close()


@case()
def failures_are_told_as_on_every_front(address, version):
    client = asker(address)
    for topic, payload, kind, code in [
        ("$call/nobody/Echo", "{}", "not-found", 404),
        ("$call/events/publish", "no JSON", "invalid-argument", 400),
        ("$call/users/GetUser", '{"id":"none"}', "not-found", 404),
    ]:
        status, answer, given = told(ask(client, topic, payload))
        equal((status, given["code"]), (kind, str(code)))
        equal(json.loads(answer)["code"], code)
    client.close()


@case()
def a_failure_without_response_topic_is_in_the_acknowledgement(address, version):
    client = asker(address)
    equal(client.publish("$call/echo/Echo", "{}", 1)[0].value, 0)
    reason, given = client.publish("$call/nobody/Echo", "{}", 1)
    equal(reason.value, 0x83)
    equal("nobody" in given.ReasonString, True)
    # paho goes on behind a PUBREC that refuses, and tells what PUBCOMP says.
    equal(client.publish("$call/nobody/Echo", "{}", 2)[0].value >= 0x80, True)
    client.close()


@case()
def levels_of_a_route_become_parameters(address, version):
    client = asker(address)
    status, answer, _ = told(ask(client, "devices/7/cmd/stop", '{"force":true}'))
    equal((status, json.loads(answer)), ("success", {"id": "7", "name": "stop", "force": True}))
    # Without a payload there are the parameters alone.
    equal(json.loads(told(ask(client, "devices/7/cmd/stop"))[1]), {"id": "7", "name": "stop"})
    # What is no object goes as it is.
    equal(told(ask(client, "devices/7/cmd/stop", "plain", ContentType="text/plain"))[1], "plain")
    # The most specific route takes it.
    equal(told(ask(client, "devices/one/cmd/stop"))[0], "not-found")
    equal(json.loads(told(ask(client, "log/a/b"))[1]), {"rest": "a/b"})
    # Whoever may use the topic may not mean another device.
    status, answer, _ = told(ask(client, "devices/7/cmd/stop", '{"id":"8"}'))
    equal(status, "invalid-argument")
    client.close()


@case(V3, V5)
def a_route_takes_publishes_that_ask_for_nothing(address, version):
    client = Client(address, version=version)
    client.subscribe("devices/#", 1)
    for qos in (0, 1, 2):
        client.publish("devices/7/cmd/stop", "{}", qos)
    # They are calls and no events.
    client.publish("devices/end", "end", 1)
    equal(client.payloads(1), ["end"])
    client.close()


@case()
def user_properties_are_headers(address, version):
    client = asker(address)
    pairs = [("X-Own", "1"), ("traceparent", TRACE), ("timeout-ms", "5000")]
    status, answer, _ = told(ask(client, "$call/probe/Context", "null", UserProperty=pairs))
    equal(status, "success")
    found = json.loads(answer)
    headers = dict(map(tuple, found["headers"]))
    equal((headers["x-own"], headers["mqtt-topic"]), ("1", "$call/probe/Context"))
    equal(found["traceparent"].split("-")[1], TRACE.split("-")[1])
    equal(0 < found["remaining_ms"] <= 5000, True)
    client.close()


@case()
def requests_of_one_client_are_under_way_together(address, version):
    client = asker(address)
    given = lambda number: client.of_publish(  # noqa: E731
        {"ResponseTopic": "replies/a", "CorrelationData": str(number).encode()}
    )
    for number in range(100):
        client.paho.publish("$call/echo/Echo", f"{number}", 1, properties=given(number))
    found = {}
    for _ in range(100):
        message = client.message()
        found[message.properties.CorrelationData.decode()] = message.payload.decode()
    equal(found, {f"{number}": f"{number}" for number in range(100)})
    client.close()


@case()
def a_streamed_reply_comes_message_by_message(address, version):
    client, other = asker(address), Client(address)
    wanted = '{"topics":["streamed.*"]}'
    pairs = [("timeout-ms", "3000")]
    client.publish(
        "$call/events/subscribe", wanted, 0, ResponseTopic="replies/a", UserProperty=pairs
    )
    parts = []
    while "end" not in parts:
        other.publish("streamed/a", "1", 1)
        if not client.messages.empty():
            status, answer, given = told(client.message())
            equal(status, "success")
            parts.append(given["stream"])
            if parts[-1] == "item":
                equal(json.loads(answer)["topic"], "streamed.a")
        time.sleep(0.05)
    equal(set(parts), {"item", "end"})
    client.close(), other.close()


@case()
def a_response_topic_that_is_none_is_refused(address, version):
    client = asker(address)
    client.paho.publish(
        "$call/echo/Echo", "{}", 1, properties=client.of_publish({"ResponseTopic": "a/+"})
    )
    client.wait(lambda: client.disconnected, "DISCONNECT")
    client = asker(address)
    reason, _ = client.publish("$call/echo/Echo", "{}", 1, ResponseTopic="$call/echo/Echo")
    equal(reason.value, 0x87)
    client.close()


if __name__ == "__main__":
    run((sys.argv[1], int(sys.argv[2])), sys.argv[3:])
