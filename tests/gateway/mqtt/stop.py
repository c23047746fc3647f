"""Wills of clients that are connected when the gateway stops. stop.py HOST PORT

The gateway is stopped and started again before the line `stop` comes on the standard input. Prints
`case: ok`, or what was wrong.
"""

import sys

import paho.mqtt.client as mqtt
from client import V3, Client, case, equal, run

ADDRESS = (sys.argv[1], int(sys.argv[2]))
KEPT = {"clean": False, "properties": {"SessionExpiryInterval": 3600}}
READER = Client(ADDRESS, "stop-reader", **KEPT)


def will(name, delay_s=0):
    given = mqtt.Properties(mqtt.PacketTypes.WILLMESSAGE)
    given.WillDelayInterval = delay_s
    return {"topic": "will/stop", "payload": name, "qos": 1, "properties": given}


def before():
    READER.subscribe("will/+", 1)
    READER.close()
    version_3 = {"topic": "will/stop", "payload": "of-3", "qos": 1}
    clients = [
        Client(ADDRESS, "stop-3", version=V3, will=version_3),
        Client(ADDRESS, "stop-clean", will=will("clean")),
        Client(ADDRESS, "stop-kept", will=will("kept"), **KEPT),
        Client(ADDRESS, "stop-late", will=will("late", 1), **KEPT),
    ]
    Client(ADDRESS, "stop-closed", will=will("closed")).close()
    print("running: ok", flush=True)
    sys.stdin.readline()
    for client in clients:
        client.wait(lambda: client.disconnected, "end of the connection")
        client.paho.loop_stop()


@case()
def who_is_kept_has_every_will_after_the_start(_address, _version):
    READER.connect()
    equal(READER.connack[0], True)
    found = READER.payloads(4)
    equal(sorted(found), ["clean", "kept", "late", "of-3"])
    equal(found[-1], "late")
    READER.nothing()
    READER.close()


before()
run(ADDRESS)
