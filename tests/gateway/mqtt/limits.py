"""Each bound of [mqtt], at its edge and beyond. Prints `case: ok`, or what was wrong. limits.py HOST PORT CASE...

The cases that are named are run, each against a gateway with a configuration of its own.
"""

import socket
import sys
import time

import paho.mqtt.client as mqtt
from client import V3, V5, Client, case, equal, eventually, run


def refused(address, name):
    """The reason of CONNACK."""
    client = Client(address, name)
    found = client.connack[1].value if client.connack else client.disconnected[0].value
    client.close()
    return found


@case()
def announced(address, version):
    found = Client(address).connack[2]
    equal(found.MaximumQoS, 1)
    equal(found.RetainAvailable, 0)
    equal(found.WildcardSubscriptionAvailable, 0)
    equal(found.SharedSubscriptionAvailable, 0)
    equal(found.ReceiveMaximum, 5)
    equal(found.MaximumPacketSize, 2048)
    equal(found.TopicAliasMaximum, 3)


@case()
def held_to(address, version):
    for topic, qos, retain, code in [("a", 2, False, 0x9B), ("a", 1, True, 0x9A)]:
        client = Client(address)
        client.paho.publish(topic, "x", qos, retain)
        client.wait(lambda: client.disconnected, "DISCONNECT")
        equal(client.disconnected[0].value, code)
    client = Client(address)
    for filter, code in [("a/+", 0xA2), ("a/#", 0xA2), ("$share/g/a", 0x9E)]:
        codes, _ = client.subscribe(filter, 1)
        equal((filter, codes[0].value), (filter, code))
    codes, _ = client.subscribe("a", 2)
    equal(codes[0].value, 1)
    client.close()


@case()
def receive(address, version):
    with socket.create_connection(address) as raw:
        raw.sendall(bytes.fromhex("100d00044d5154540502003c000000"))
        eventually(lambda: raw.recv(64)[:1] == b"\x20")
        # QoS 2 that is never released. Of QoS 1 no more are read than are being taken.
        for number in range(6):
            raw.sendall(b"\x34\x06\x00\x01a\x00" + bytes([number + 1, 0]))
        raw.settimeout(20)
        seen = b""
        while b"\xe0" not in seen:
            seen += raw.recv(256)
        equal(seen.count(b"\x50"), 5)
        equal(seen[seen.index(b"\xe0") + 2], 0x93)


@case()
def sessions(address, version):
    # Three at most: two are kept, and one is connected.
    kept = {"SessionExpiryInterval": 600}
    for name in ("kept-1", "kept-2"):
        Client(address, name, properties=kept).close()
    third = Client(address, "third")
    equal(third.connack[1].value, 0)
    equal(refused(address, "fourth"), 0x97)
    third.close()
    eventually(lambda: refused(address, "fifth") == 0)


@case()
def subscriptions(address, version):
    client = Client(address)
    for number in range(3):
        equal(client.subscribe(f"s/{number}", 1)[0][0].value, 1)
    equal(client.subscribe("s/3", 1)[0][0].value, 0x97)
    # One that is there already is replaced.
    equal(client.subscribe("s/2", 0)[0][0].value, 0)
    client.unsubscribe("s/0")
    equal(client.subscribe("s/3", 1)[0][0].value, 1)
    client.close()


@case()
def expiry(address, version):
    client = Client(address, "long", properties={"SessionExpiryInterval": 0xFFFFFFFF})
    equal(client.connack[2].SessionExpiryInterval, 1)
    client.close()
    Client(address, "long-3", V3, clean=False).close()
    time.sleep(1.6)
    equal(Client(address, "long", clean=False).connack[0], False)
    equal(Client(address, "long-3", V3, clean=False).connack[0], False)


@case()
def messages(address, version):
    writer = Client(address)
    writer.publish("old/kept", "x", 1, retain=True)
    options = {"clean": False, "properties": {"SessionExpiryInterval": 600}}
    client = Client(address, "late", **options)
    client.subscribe("old/news", 1)
    client.close()
    writer.publish("old/news", "x", 1)
    writer.publish("old/news", "x", 1, MessageExpiryInterval=3600)
    time.sleep(1.6)
    client = Client(address, "late", **options)
    client.subscribe("old/kept", 1)
    writer.publish("old/news", "end", 1)
    equal(client.payloads(1), ["end"])
    client.close(), writer.close()


@case()
def keep_alive(address, version):
    for asked in (0, 60):
        client = Client(address, keepalive=asked)
        equal(client.connack[2].ServerKeepAlive, 2)
        client.close()
    client = Client(address, keepalive=1)
    equal(hasattr(client.connack[2], "ServerKeepAlive"), False)
    client.close()


@case()
def queue(address, version):
    options = {"clean": False, "properties": {"SessionExpiryInterval": 600}}
    client = Client(address, "queue", **options)
    client.subscribe("queue/#", 1)
    client.close()
    writer = Client(address)
    for number in range(8):
        writer.publish("queue/a", f"{number}", 1)
    client = Client(address, "queue", **options)
    # The oldest are dropped.
    equal(client.payloads(5), ["3", "4", "5", "6", "7"])
    client.nothing()
    client.close(), writer.close()


@case()
def queue_bytes(address, version):
    """A subscriber that does not read has the newest, and not all."""
    client = Client(address)
    client.subscribe("queue/#", 0)
    client.paho.loop_stop()
    writer = Client(address)
    count = 400
    for number in range(count):
        writer.publish("queue/a", f"{number}".rjust(60_000), 1)
    client.paho.loop_start()
    found = [client.message().payload.strip()]
    while found[-1] != b"%d" % (count - 1):
        found.append(client.message().payload.strip())
    equal(len(found) < count, True)
    client.close(), writer.close()


@case()
def kept(address, version):
    """What waits for all sessions has a bound; a publish that finds no room is not acknowledged as taken."""
    options = {"clean": False, "properties": {"SessionExpiryInterval": 600}}
    client = Client(address, "kept", **options)
    client.subscribe("kept/#", 1)
    client.close()
    writer = Client(address)
    found = [writer.publish("kept/a", "x" * 100_000, 1)[0].value for _ in range(14)]
    taken = [code for code in found if code < 0x80]
    equal(0 < len(taken) < len(found), True)
    equal(found[len(taken):], [0x97] * (len(found) - len(taken)))
    client = Client(address, "kept", **options)
    for _ in taken:
        client.message()
    client.nothing()
    client.close(), writer.close()


@case()
def retained(address, version):
    client = Client(address)
    equal(client.publish("r/1", "x", 1, retain=True)[0].value < 0x80, True)
    equal(client.publish("r/2", "x", 1, retain=True)[0].value < 0x80, True)
    equal(client.publish("r/3", "x", 1, retain=True)[0].value, 0x97)
    equal(client.publish("r/2", "y", 1, retain=True)[0].value < 0x80, True)
    equal(client.publish("r/1", "", 1, retain=True)[0].value < 0x80, True)
    equal(client.publish("r/3", "x", 1, retain=True)[0].value < 0x80, True)
    client.close()


@case()
def retained_bytes(address, version):
    client = Client(address)
    equal(client.publish("r/1", "x" * 40_000, 1, retain=True)[0].value < 0x80, True)
    equal(client.publish("r/2", "x" * 40_000, 1, retain=True)[0].value, 0x97)
    equal(client.publish("r/1", "x" * 50_000, 1, retain=True)[0].value < 0x80, True)
    client.close()


@case()
def identifier(address, version):
    equal(Client(address, "x" * 23).connack[1].value, 0)
    equal(refused(address, "x" * 24), 0x85)


@case()
def in_flight(address, version):
    """A subscriber that acknowledges nothing is sent no more than that."""
    with socket.create_connection(address) as raw:
        raw.sendall(bytes.fromhex("100d00044d5154540502003c000000"))
        raw.sendall(bytes.fromhex("820900010000036e2f2301"))
        raw.settimeout(20)
        seen = b""
        while b"\x90" not in seen:
            seen += raw.recv(1024)
        writer = Client(address)
        for number in range(20):
            writer.publish("n/a", f"{number:02}", 1)
        time.sleep(0.5)
        seen = raw.recv(65536)
        equal(seen.count(b"\x00\x03n/a"), 4)
        writer.close()


@case()
def silent_sys(address, version):
    client = Client(address)
    client.subscribe("$SYS/#")
    client.nothing(2)
    client.close()


@case()
def few_calls(address, version):
    """Publishes with QoS 0 beyond the bound wait, and none is lost."""
    client = Client(address)
    client.subscribe("replies/a", 1)
    for number in range(10):
        given = client.of_publish({"ResponseTopic": "replies/a"})
        client.paho.publish("$call/echo/Echo", f"{number}", 0, properties=given)
    equal(sorted(client.payloads(10)), sorted(f"{number}" for number in range(10)))
    client.close()


run((sys.argv[1], int(sys.argv[2])), sys.argv[3:])
