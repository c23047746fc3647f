"""A shared subscription of sessions that are kept, over a kill. shares.py HOST PORT

The gateway is killed and started again before the line `stop` comes on the standard input. Prints
`case: ok`, or what was wrong.
"""

import sys

from client import Client, case, equal, eventually, run

FILTER = "$share/group/work/+"
KEPT = {"clean": False, "properties": {"SessionExpiryInterval": 3600}}
ADDRESS = (sys.argv[1], int(sys.argv[2]))


def member(name):
    made = Client(ADDRESS, name, connect=False, **KEPT)
    # What it is sent it has, and says so only where that is asked of it.
    made.paho.manual_ack_set(True)
    return made


def numbers(messages):
    return sorted(int(message.payload) for message in messages)


def publish(first, end, qos=1):
    writer = Client(ADDRESS)
    for number in range(first, end):
        reason, _ = writer.publish("work/a", f"{number}", qos)
        equal(reason.value, 0)
    writer.close()


def take(members, count):
    """What has come to all of them together, acknowledged."""
    found = []

    def look():
        for one in members:
            while not one.messages.empty():
                message = one.message()
                one.paho.ack(message.mid, message.qos)
                found.append(message)
        return len(found) >= count

    eventually(look)
    for one in members:
        one.nothing(0.1)
    return found


FIRST, SECOND = member("share-1"), member("share-2")


def before():
    FIRST.connect(), SECOND.connect()
    for one in (FIRST, SECOND):
        one.subscribe(FILTER, 1)
    SECOND.close()
    publish(0, 60)
    # As many are under way to the first as it may have, and it acknowledges none.
    eventually(lambda: FIRST.messages.qsize() >= 10)
    print("running: ok", flush=True)
    sys.stdin.readline()
    FIRST.wait(lambda: FIRST.disconnected, "end of the connection")
    FIRST.paho.loop_stop()


@case()
def what_was_under_way_to_one_that_is_gone_goes_to_another(_address, _version):
    SECOND.connect()
    equal(SECOND.connack[0], True)
    equal(numbers(take([SECOND], 60)), list(range(60)))
    SECOND.close()


@case()
def what_was_acknowledged_comes_to_nobody_and_each_message_to_one(_address, _version):
    while not FIRST.messages.empty():
        FIRST.message()
    FIRST.connect(), SECOND.connect()
    publish(100, 140)
    publish(140, 150, qos=2)
    equal(numbers(take([FIRST, SECOND], 50)), list(range(100, 150)))


@case()
def a_member_that_is_not_kept_takes_what_waited_for_the_others(_address, _version):
    FIRST.close(), SECOND.close()
    publish(200, 220)
    clean = Client(ADDRESS)
    clean.paho.manual_ack_set(True)
    clean.subscribe(FILTER, 1)
    equal(numbers(take([clean], 20)), list(range(200, 220)))
    # With QoS 0 nothing waits, and nothing is to be acknowledged.
    clean.subscribe(FILTER, 0)
    publish(220, 230)
    equal(clean.payloads(10), [f"{number}" for number in range(220, 230)])
    clean.close()


@case()
def what_one_has_not_acknowledged_is_the_others_when_it_goes(_address, _version):
    FIRST.connect()
    publish(300, 305)
    eventually(lambda: FIRST.messages.qsize() == 5)
    SECOND.connect()
    FIRST.drop()
    found = take([SECOND], 5)
    equal(numbers(found), list(range(300, 305)))


@case()
def it_ends_with_its_last_subscription(_address, _version):
    FIRST.messages.queue.clear()
    FIRST.connect()
    for one in (FIRST, SECOND):
        one.unsubscribe(FILTER)
    writer = Client(ADDRESS)
    reason, _ = writer.publish("work/a", "nobody", 1)
    equal(reason.value, 0x10)
    FIRST.subscribe(FILTER, 1)
    publish(400, 401)
    equal(numbers(take([FIRST], 1)), [400])
    for client in (writer, FIRST, SECOND):
        client.close()


before()
run(ADDRESS)
