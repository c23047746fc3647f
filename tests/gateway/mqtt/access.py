"""Who may connect and what each may do, by paho-mqtt. Prints `case: ok`, or what was wrong.

access.py HOST PORT TLS-PORT CA CERTIFICATE KEY
"""

import base64
import hashlib
import hmac
import json
import sys
import time

from client import V3, V5, Client, case, equal, eventually, run

SECRET = b"0123456789abcdef0123456789abcdef"
TLS = None


def token(**claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = part(b'{"alg":"HS256","typ":"JWT"}')
    body = part(json.dumps({"exp": int(time.time()) + 600, **claims}).encode())
    signed = hmac.new(SECRET, head + b"." + body, hashlib.sha256).digest()
    return b".".join([head, body, part(signed)]).decode()


def reason(address, version, **options):
    client = Client(address, version=version, **options)
    found = client.connack[1].value if client.connack else client.disconnected[0].value
    client.close()
    return found


@case(V3, V5)
def a_user_is_who_has_the_key(address, version):
    equal(reason(address, version, user="d1", password="d1-secret"), 0)
    # paho tells the return codes of 3.1.1 as reasons of 5.
    equal(reason(address, version, user="d1", password="wrong"), 0x86)
    equal(reason(address, version, user="d2", password="d1-secret"), 0x86)
    equal(reason(address, version), 0x87)


@case(V3, V5)
def a_token_is_a_password(address, version):
    equal(reason(address, version, user="any", password=token(sub="d9", roles=["device"])), 0)
    equal(reason(address, version, user="any", password=token(sub="d9", exp=1)), 0x86)
    forged = token(sub="d9")[:-4] + "AAAA"
    equal(reason(address, version, user="any", password=forged), 0x86)


@case()
def a_connection_ends_with_its_token(address, version):
    password = token(sub="d9", roles=["device"], exp=int(time.time()) + 3)
    client = Client(address, "short", user="any", password=password)
    equal(client.connack[1].value, 0)
    client.wait(lambda: client.disconnected, "DISCONNECT")
    equal(client.disconnected[0].value, 0x98)


@case()
def a_certificate_needs_no_password(address, version):
    port, ca, certificate, key = TLS
    tls = {"ca_certs": ca, "certfile": certificate, "keyfile": key}
    client = Client(("localhost", int(port)), "by-certificate", tls=tls)
    equal(client.connack[1].value, 0)
    equal(client.publish("of/shown/by-certificate", "x", 1)[0].value < 0x80, True)
    client.close()


def device(address, version=V5, **options):
    return Client(address, "c1", version, user="d1", password="d1-secret", **options)


@case()
def publishes_are_held_to_the_rules(address, version):
    client = device(address)
    for topic, allowed in [
        ("devices/c1/up", True),
        ("devices/c2/up", False),
        ("of/d1/x", True),
        ("of/d2/x", False),
        ("elsewhere", False),
        ("$SYS/broker/version", False),
        ("postern/plugins", False),
        ("$call/echo/Echo", False),
    ]:
        found = client.publish(topic, "x", 1)[0].value
        equal((topic, found == 0x87), (topic, not allowed))
        # paho goes on behind a PUBREC that refuses, and tells what PUBCOMP says.
        found = client.publish(topic, "x", 2)[0].value
        equal((topic, found >= 0x80), (topic, not allowed))
    client.close()


@case()
def subscriptions_are_held_to_the_rules(address, version):
    client = device(address)
    for filter, allowed in [
        ("devices/c1/#", True),
        ("devices/c1/down/+", True),
        ("devices/+/down", False),
        ("#", False),
        ("of/d1/x", True),
        ("of/+/x", False),
        ("of/d1/secret", False),
        ("of/d1/#", False),
        ("$share/g/devices/c1/x", True),
        ("$share/g/devices/c2/x", False),
        ("$SYS/#", False),
    ]:
        codes, _ = client.subscribe(filter, 1)
        equal((filter, codes[0].value), (filter, 1 if allowed else 0x87))
    client.close()


@case(V3)
def a_client_of_3_1_1_is_told_by_suback(address, version):
    client = device(address, version)
    codes, _ = client.subscribe("devices/c1/#", 1)
    equal(codes[0].value, 1)
    codes, _ = client.subscribe("devices/c2/#", 1)
    equal(codes[0].value, 0x80)
    client.close()


@case(V3, V5)
def a_will_is_held_to_the_rules(address, version):
    will = {"topic": "devices/c2/up", "payload": "x"}
    equal(reason(address, version, client_id="c1", user="d1", password="d1-secret", will=will), 0x87)
    will = {"topic": "devices/c1/up", "payload": "x"}
    equal(reason(address, version, client_id="c1", user="d1", password="d1-secret", will=will), 0)


@case()
def a_name_that_is_a_filter_widens_nothing(address, version):
    for name in ("+", "#", "c1/up", "+/+"):
        client = Client(address, name, user="d1", password="d1-secret")
        if client.connack and client.connack[1].value == 0:
            codes, _ = client.subscribe(f"devices/{name}", 1)
            equal((name, codes[0].value >= 0x80), (name, True))
        client.close()


@case()
def a_reply_goes_only_where_its_client_may_publish(address, version):
    client = Client(address, "caller", user="caller", password="caller-secret")
    client.subscribe("replies/caller", 1)
    found = client.publish("$call/echo/Echo", "{}", 1, ResponseTopic="replies/caller")
    equal(found[0].value < 0x80, True)
    equal(client.message().payload, b"{}")
    found = client.publish("$call/echo/Echo", "{}", 1, ResponseTopic="replies/other")
    equal(found[0].value, 0x87)
    # The rules of calls hold for calls: [authorization].
    found = client.publish("$call/echo/Secret", "{}", 1)
    equal(found[0].value, 0x87)
    client.publish("$call/echo/Secret", "{}", 1, ResponseTopic="replies/caller")
    given = dict(client.message().properties.UserProperty)
    equal((given["status"], given["code"]), ("permission-denied", "403"))
    client.close()


if __name__ == "__main__":
    TLS = sys.argv[3:7]
    run((sys.argv[1], int(sys.argv[2])))
