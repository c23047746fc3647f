"""Every feature of MQTT 3.1.1 and 5 by paho-mqtt. Prints `case: ok`, or what was wrong.

matrix.py HOST PORT [CASE...]
"""

import socket
import sys
import time

import paho.mqtt.client as mqtt
from client import V3, V5, Client, case, equal, eventually, run


@case(V3, V5)
def qos_is_the_lower_of_both(address, version):
    for wanted in (0, 1, 2):
        with_topic = f"qos/{version}/{wanted}"
        client = Client(address, version=version)
        client.subscribe(with_topic, wanted)
        for sent in (0, 1, 2):
            client.publish(with_topic, f"{sent}", sent)
            message = client.message()
            equal((message.payload, message.qos), (b"%d" % sent, min(wanted, sent)))
            equal(message.retain, False)
        client.close()


@case(V3, V5)
def messages_of_one_publisher_keep_their_order(address, version):
    reader, writer = Client(address, version=version), Client(address, version=version)
    topic = f"order/{version}"
    for qos in (0, 1, 2):
        reader.subscribe(topic, qos)
        infos = [writer.paho.publish(topic, f"{number}", qos) for number in range(200)]
        for info in infos:
            info.wait_for_publish(20)
        equal(reader.payloads(200), [f"{number}" for number in range(200)])
    reader.close(), writer.close()


@case(V3, V5)
def large_messages_arrive_whole(address, version):
    client = Client(address, version=version)
    topic = f"large/{version}"
    client.subscribe(topic, 1)
    payload = bytes(range(256)) * 3000
    client.publish(topic, payload, 1)
    equal(client.message().payload, payload)
    client.close()


@case(V3, V5)
def wildcards(address, version):
    table = [
        ("w/+/c", ["w/a/c", "w//c"], ["w/c", "w/a/b/c"]),
        ("w/#", ["w", "w/a", "w/a/b", "w/"], ["x/w"]),
        ("w/+", ["w/a", "w/"], ["w", "w/a/b"]),
        ("+/w/+", ["a/w/b", "/w/b"], ["w/b"]),
        ("w/d.t", ["w/d.t"], ["w/d/t"]),
        ("w/é €", ["w/é €"], ["w/e"]),
    ]
    writer = Client(address, version=version)
    for filter, taken, left in table:
        reader = Client(address, version=version)
        reader.subscribe([(filter, 0)] if version == V3 else [(filter, mqtt.SubscribeOptions(0))])
        reader.subscribe("w-end")
        for topic in left + taken:
            writer.publish(topic, topic, 1)
        writer.publish("w-end", "", 1)
        found = [reader.message().topic for _ in range(len(taken) + 1)]
        equal(found, taken + ["w-end"])
        reader.close()
    writer.close()


@case(V3, V5)
def own_topics_are_told_by_name_only(address, version):
    client = Client(address, version=version)
    client.subscribe("#")
    client.subscribe("+/broker/version")
    client.publish("own/end", "", 1)
    equal(client.message().topic, "own/end")
    client.subscribe("$SYS/broker/version")
    equal(client.message().topic, "$SYS/broker/version")
    client.close()


@case(V3, V5)
def retained(address, version):
    writer, topic = Client(address, version=version), f"retained/{version}"
    reader = Client(address, version=version)
    reader.subscribe(topic, 1)
    for payload in ("one", "two"):
        writer.publish(topic, payload, 1, retain=True)
        message = reader.message()
        equal((message.payload.decode(), message.retain), (payload, False))
    late = Client(address, version=version)
    late.subscribe(f"retained/{version}/#", 1)
    message = late.message()
    equal((message.payload, message.retain, message.qos), (b"two", True, 1))
    writer.publish(topic, b"", 1, retain=True)
    equal(reader.message().payload, b"")
    later = Client(address, version=version)
    later.subscribe(topic, 1)
    writer.publish(topic, "end", 1)
    equal(later.message().payload, b"end")
    for client in (writer, reader, late, later):
        client.close()


@case()
def retain_handling(address, version):
    writer = Client(address)
    writer.publish("handling/a", "kept", 1, retain=True)
    # 0: always, 1: only of a subscription that is new, 2: never.
    for handling, first, second in ((0, 1, 1), (1, 1, 0), (2, 0, 0)):
        reader = Client(address)
        for expected in (first, second):
            reader.subscribe("handling/a", 1, retainHandling=handling)
            writer.publish("handling/a", "live", 1)
            equal(reader.payloads(expected + 1), ["kept"] * expected + ["live"])
        reader.close()
    writer.publish("handling/a", "", 1, retain=True)
    writer.close()


@case()
def retain_as_published(address, version):
    writer = Client(address)
    plain, kept = Client(address), Client(address)
    plain.subscribe("rap/a", 1)
    kept.subscribe("rap/a", 1, retainAsPublished=True)
    writer.publish("rap/a", "x", 1, retain=True)
    equal((plain.message().retain, kept.message().retain), (False, True))
    writer.publish("rap/a", "", 1, retain=True)
    for client in (writer, plain, kept):
        client.close()


@case()
def no_local(address, version):
    client, other = Client(address), Client(address)
    client.subscribe("local/a", 1, noLocal=True)
    client.publish("local/a", "own", 1)
    other.publish("local/a", "other's", 1)
    equal(client.payloads(1), ["other's"])
    client.close(), other.close()


@case()
def subscription_identifiers(address, version):
    client = Client(address)
    client.subscribe("ids/a", 1, identifier=7)
    client.subscribe("ids/+", 1, identifier=268435455)
    client.publish("ids/a", "x", 1)
    found = []
    while sorted(found) != [7, 268435455]:
        found += client.message().properties.SubscriptionIdentifier
    client.publish("ids/b", "x", 1)
    equal(client.message().properties.SubscriptionIdentifier, [268435455])
    client.close()


@case(V3, V5)
def a_will_is_told_when_the_connection_breaks(address, version):
    reader = Client(address, version=version)
    topic = f"will/{version}"
    reader.subscribe(topic, 1)
    will = {"topic": topic, "payload": "gone", "qos": 1, "retain": True}
    client = Client(address, version=version, will=will)
    client.drop()
    message = reader.message()
    equal((message.payload, message.qos), (b"gone", 1))
    late = Client(address, version=version)
    late.subscribe(topic, 1)
    equal(late.message().retain, True)
    reader.publish(topic, "", 1, retain=True)
    equal(reader.message().payload, b"")
    # In order, nothing is told.
    Client(address, version=version, will=will).close()
    reader.publish(topic, "end", 1)
    equal(reader.payloads(1), ["end"])
    reader.close(), late.close()


@case()
def a_will_is_told_where_disconnect_asks_for_it(address, version):
    reader = Client(address)
    reader.subscribe("will/asked", 1)
    Client(address, will={"topic": "will/asked", "payload": "bye"}).close(reason=4)
    equal(reader.payloads(1), ["bye"])
    reader.close()


def delayed(topic, seconds):
    given = mqtt.Properties(mqtt.PacketTypes.WILLMESSAGE)
    given.WillDelayInterval = seconds
    given.UserProperty = [("a", "1")]
    given.ContentType = "text/x"
    return {"topic": topic, "payload": "late", "qos": 1, "properties": given}


@case()
def a_will_waits_for_its_delay(address, version):
    reader = Client(address)
    reader.subscribe("will/late", 1)
    expiry = {"SessionExpiryInterval": 60}
    client = Client(address, "will-late", will=delayed("will/late", 1), properties=expiry)
    begin = time.monotonic()
    client.drop()
    message = reader.message()
    assert time.monotonic() - begin >= 1, "it was told at once"
    equal(message.properties.UserProperty, [("a", "1")])
    equal(message.properties.ContentType, "text/x")
    # One who comes back in time has not gone.
    client = Client(address, "will-back", will=delayed("will/late", 2), properties=expiry)
    client.drop()
    back = Client(address, "will-back", clean=False, properties=expiry)
    time.sleep(2.5)
    reader.publish("will/late", "end", 1)
    equal(reader.payloads(1), ["end"])
    # The end of the session comes before the delay.
    client = Client(address, "will-ends", will=delayed("will/late", 600))
    client.drop()
    equal(reader.payloads(1), ["late"])
    reader.close(), back.close()


@case()
def a_shared_subscription_gets_each_message_once(address, version):
    writer = Client(address)
    readers = [Client(address) for _ in range(3)]
    for reader in readers:
        reader.subscribe("$share/one/shared/+", 1)
    other = Client(address)
    other.subscribe("$share/two/shared/#", 1)
    for number in range(30):
        writer.publish("shared/a", f"{number}", 1)
    equal(sorted(other.payloads(30), key=int), [f"{number}" for number in range(30)])
    found = []
    eventually(lambda: [found.append(r.message(0.01)) for r in readers if not r.messages.empty()]
               is not None and len(found) >= 30)
    equal(sorted(int(message.payload) for message in found), list(range(30)))
    for reader in readers:
        reader.nothing(0.1)
    # Those of one that has gone are for the others.
    readers[0].close(), readers[1].close()
    for number in range(5):
        writer.publish("shared/a", f"{number}", 1)
    equal(readers[2].payloads(5), [f"{number}" for number in range(5)])
    for client in (writer, other, readers[2]):
        client.close()


@case()
def a_shared_subscription_may_not_be_no_local(address, version):
    client = Client(address)
    client.paho.subscribe("$share/g/x", options=mqtt.SubscribeOptions(1, noLocal=True))
    reason, _ = client.wait(lambda: client.disconnected, "DISCONNECT")
    equal(reason.value, 0x82)


@case(V3, V5)
def a_session_keeps_what_comes_while_its_client_is_away(address, version):
    name, topic = f"away-{version}", f"away/{version}"
    options = {"clean": False, "version": version}
    if version == V5:
        options["properties"] = {"SessionExpiryInterval": 600}
    client = Client(address, name, **options)
    equal(client.connack[0], False)
    client.subscribe(topic, 2)
    client.close()
    writer = Client(address, version=version)
    for qos in (1, 2, 1):
        writer.publish(topic, f"{qos}", qos)
    client = Client(address, name, **options)
    equal(client.connack[0], True)
    equal(sorted(client.payloads(3)), ["1", "1", "2"])
    client.unsubscribe(topic)
    client.close()
    writer.publish(topic, "nobody's", 1)
    client = Client(address, name, **options)
    equal(client.connack[0], True)
    client.subscribe(topic, 1)
    writer.publish(topic, "end", 1)
    equal(client.payloads(1), ["end"])
    client.close()
    # A clean start forgets it.
    client = Client(address, name, version=version)
    equal(client.connack[0], False)
    client.close(), writer.close()


@case()
def a_session_ends_after_its_expiry(address, version):
    client = Client(address, "expires", properties={"SessionExpiryInterval": 1})
    client.subscribe("expires", 1)
    client.close()
    time.sleep(1.5)
    client = Client(address, "expires", clean=False)
    equal(client.connack[0], False)
    # None was asked for, so that it ends with the connection.
    client.close()
    client = Client(address, "expires", clean=False, properties={"SessionExpiryInterval": 600})
    equal(client.connack[0], False)
    # DISCONNECT may shorten it.
    client.close(reason=0, SessionExpiryInterval=0)
    client = Client(address, "expires", clean=False)
    equal(client.connack[0], False)
    client.close()


@case()
def messages_expire(address, version):
    options = {"clean": False, "properties": {"SessionExpiryInterval": 600}}
    client = Client(address, "old-news", **options)
    client.subscribe("news", 1)
    client.close()
    writer = Client(address)
    writer.publish("news", "old", 1, MessageExpiryInterval=1)
    writer.publish("news", "fresh", 1, MessageExpiryInterval=600)
    writer.publish("news/kept", "old", 1, retain=True, MessageExpiryInterval=1)
    time.sleep(1.6)
    client = Client(address, "old-news", **options)
    message = client.message()
    equal(message.payload, b"fresh")
    assert 0 < message.properties.MessageExpiryInterval < 600, "what is left is told"
    client.subscribe("news/kept", 1)
    writer.publish("news", "end", 1)
    equal(client.payloads(1), ["end"])
    client.close(reason=0, SessionExpiryInterval=0), writer.close()


@case()
def properties_of_a_message_go_with_it(address, version):
    client = Client(address)
    client.subscribe("given/a", 2)
    pairs = [("b", "2"), ("a", "1"), ("b", "3"), ("é", "")]
    given = {
        "UserProperty": pairs,
        "ContentType": "application/json",
        "PayloadFormatIndicator": 1,
        "ResponseTopic": "given/reply",
        "CorrelationData": b"\x00\xff\x01",
        "MessageExpiryInterval": 100,
    }
    for qos in (0, 1, 2):
        client.publish("given/a", "{}", qos, **given)
        found = client.message().properties
        for name in given:
            if name != "MessageExpiryInterval":
                equal(getattr(found, name), given[name])
        assert 98 <= found.MessageExpiryInterval <= 100
    client.close()


@case()
def topic_aliases_of_a_client(address, version):
    client, reader = Client(address), Client(address)
    reader.subscribe("alias/+", 1)
    equal(client.connack[2].TopicAliasMaximum, 32)
    client.publish("alias/a", "1", 1, TopicAlias=1)
    client.publish("alias/b", "2", 1, TopicAlias=32)
    client.publish("", "3", 1, TopicAlias=1)
    client.publish("alias/c", "4", 1, TopicAlias=1)
    client.publish("", "5", 1, TopicAlias=1)
    found = [reader.message() for _ in range(5)]
    equal([message.topic[-1] for message in found], list("abacc"))
    equal([message.payload for message in found], [b"1", b"2", b"3", b"4", b"5"])
    client.paho.publish("", "6", 1, properties=client.of_publish({"TopicAlias": 9}))
    client.wait(lambda: client.disconnected, "DISCONNECT")
    equal(client.disconnected[0].value, 0x82)
    client = Client(address)
    client.paho.publish("alias/d", "6", 1, properties=client.of_publish({"TopicAlias": 33}))
    client.wait(lambda: client.disconnected, "DISCONNECT")
    equal(client.disconnected[0].value, 0x94)
    reader.close()


@case()
def a_client_gets_no_packet_over_its_maximum(address, version):
    client = Client(address, properties={"MaximumPacketSize": 60})
    writer = Client(address)
    client.subscribe("size", 1)
    writer.publish("size", "x" * 100, 1)
    writer.publish("size", "y" * 20, 1)
    equal(client.payloads(1), ["y" * 20])
    client.close(), writer.close()


@case()
def a_packet_over_the_brokers_maximum_ends_the_connection(address, version):
    client = Client(address)
    equal(client.connack[2].MaximumPacketSize, 1024 * 1024)
    client.paho.publish("size", b"x" * 1100 * 1024, 1)
    client.wait(lambda: client.disconnected, "DISCONNECT")
    equal(client.disconnected[0].value, 0x95)


@case()
def what_the_broker_can_do_is_announced(address, version):
    client = Client(address)
    found = client.connack[2]
    equal(found.ReceiveMaximum, 256)
    assert found.AssignedClientIdentifier
    for name in ("RetainAvailable", "WildcardSubscriptionAvailable",
                 "SubscriptionIdentifierAvailable", "SharedSubscriptionAvailable"):
        equal(getattr(found, name, 1), 1)
    equal(getattr(found, "MaximumQoS", 2), 2)
    client.close()


@case()
def reasons(address, version):
    client = Client(address)
    equal(client.publish("nobody/listens", "x", 1)[0].value, 0x10)
    # Of QoS 2 paho tells PUBCOMP; that PUBREC said so, mosquitto_pub shows.
    equal(client.publish("nobody/listens", "x", 2)[0].value, 0)
    codes, _ = client.subscribe("reasons/a", 1)
    equal([code.value for code in codes], [1])
    codes, _ = client.subscribe("$share/bad", 1)
    equal(codes[0].value >= 0x80, True)
    equal(client.publish("reasons/a", "x", 1)[0].value, 0)
    codes, _ = client.unsubscribe(["reasons/a", "reasons/b"])
    equal([code.value for code in codes], [0, 0x11])
    client.close()


@case(V3, V5)
def a_second_connection_takes_the_session_over(address, version):
    name = f"twice-{version}"
    will = {"topic": f"twice/{version}", "payload": "taken"}
    first = Client(address, name, version=version, will=will)
    reader = Client(address, version=version)
    reader.subscribe(f"twice/{version}")
    second = Client(address, name, version=version)
    reason, _ = first.wait(lambda: first.disconnected, "the end of the first")
    if version == V5:
        equal(reason.value, 0x8E)
    # A session that ends has a will (MQTT 5 section 3.1.3.2.2).
    equal(reader.payloads(1), ["taken"])
    second.close(), reader.close()


@case(V3, V5)
def a_silent_client_is_gone_after_its_keep_alive(address, version):
    reader, topic = Client(address, version=version), f"silent/{version}"
    reader.subscribe(topic)
    will = {"topic": topic, "payload": "gone"}
    client = Client(address, version=version, will=will, keepalive=1)
    # It neither reads nor pings from here on.
    client.paho.loop_stop()
    equal(reader.payloads(1), ["gone"])
    reader.close()


@case(V3)
def an_empty_identifier_is_for_clean_sessions(address, version):
    client = Client(address, "", version=V5)
    assert client.connack[2].AssignedClientIdentifier
    client.close()
    # paho would not send it: a CONNECT of 3.1.1 without an identifier, and not clean.
    with socket.create_connection(address) as raw:
        raw.sendall(bytes.fromhex("100c00044d5154540400003c0000"))
        equal(raw.recv(64), bytes.fromhex("20020002"))


@case(V3, V5)
def sys_topics(address, version):
    client = Client(address, version=version)
    client.subscribe("$SYS/#")
    wanted = {
        "$SYS/broker/version",
        "$SYS/broker/uptime",
        "$SYS/broker/clients/connected",
        "$SYS/broker/clients/total",
        "$SYS/broker/subscriptions/count",
        "$SYS/broker/retained messages/count",
        "$SYS/broker/messages/received",
        "$SYS/broker/messages/sent",
        "$SYS/broker/bytes/received",
        "$SYS/broker/bytes/sent",
    }
    end = time.monotonic() + 20
    while wanted:
        wanted.discard(client.message().topic)
        if time.monotonic() > end:
            raise TimeoutError(f"nothing of {sorted(wanted)}")
    client.close()


if __name__ == "__main__":
    run((sys.argv[1], int(sys.argv[2])), sys.argv[3:])
