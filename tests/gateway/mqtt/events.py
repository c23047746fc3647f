"""Topics of MQTT are those of events. Prints `case: ok`, or what was wrong. events.py HOST PORT HTTP-PORT"""

import http.client
import json
import sys

from client import V3, V5, Client, case, equal, eventually, run


def post(path, document):
    http_port = int(sys.argv[3])
    asked = http.client.HTTPConnection(sys.argv[1], http_port, timeout=30)
    asked.request("POST", path, json.dumps(document), {"content-type": "application/json"})
    return asked.getresponse()


@case(V3, V5)
def a_client_is_told_of_events_of_others(address, version):
    client = Client(address, version=version)
    for filter in ("orders/#", "orders"):
        client.subscribe(filter, 1)
    for topic, name in [
        ("orders.created", "orders/created"),
        ("orders", "orders"),
        ("orders.a%2Eb", "orders/a.b"),
    ]:
        said = post("/v1/services/events/publish", {"topic": topic, "payload": {"id": 1}})
        equal((said.status, json.loads(said.read())["subscribers"]), (200, 1))
        message = client.message()
        equal((message.topic, json.loads(message.payload)), (name, {"id": 1}))
        if version == V5:
            equal(message.properties.ContentType, "application/json")
    client.close()


@case(V3, V5)
def others_are_told_of_what_a_client_publishes(address, version):
    client = Client(address, version=version)
    stream = post("/v1/services/events/subscribe", {"topics": ["orders.>"]})
    equal(stream.status, 200)
    for topic, name in [("orders/created", "orders.created"), ("orders/a.b", "orders.a%2Eb")]:
        for qos in (0, 1, 2):
            client.publish(topic, '{"id":7}', qos, ContentType="application/json")
            line = b""
            while not line.strip():
                line = stream.readline()
            event = json.loads(line)
            equal(event["topic"], name)
            if version == V5:
                equal((event["content-type"], event["payload"]), ("application/json", {"id": 7}))
    client.close()


@case()
def the_gateways_own_events_are_told_and_not_forged(address, version):
    client = Client(address)
    equal(client.subscribe("postern/#", 1)[0][0].value, 1)
    equal(client.publish("postern/plugins/echo", "x", 1)[0].value, 0x87)
    client.close()


run((sys.argv[1], int(sys.argv[2])))
