"""Publishes and reads without end while the gateway is killed and started again, then tells what was lost.

kill.py HOST PORT: a line `stop` on the standard input ends it. Prints `case: ok`, or what was wrong, and
figures to the standard error output.
"""

import sys
import threading
import time
from collections import Counter

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOST, PORT = sys.argv[1], int(sys.argv[2])
QOS = (1, 2)
LOCK = threading.Lock()


class KeepingClient(mqtt.Client):
    """paho that keeps its half of QoS 2.

    When two attempts to connect fail one after the other, paho 2.2 forgets that it has said PUBREL, and says
    PUBLISH once more in its place, with an identifier that is free by then: a message of its own to every server.
    """

    def _messages_reconnect_reset_out(self):
        with self._out_message_mutex:
            for message in self._out_messages.values():
                if message.state == mqtt.mqtt_ms_resend_pubrel:
                    message.state = mqtt.mqtt_ms_wait_for_pubcomp
        super()._messages_reconnect_reset_out()


def client(name):
    made = KeepingClient(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
    made.reconnect_delay_set(0.05, 0.2)
    made.max_inflight_messages_set(50)
    made.max_queued_messages_set(0)
    given = Properties(PacketTypes.CONNECT)
    given.SessionExpiryInterval = 86_400
    made.connect(HOST, PORT, keepalive=10, clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY, properties=given)
    return made


class Member:
    """One of those that share what is published to `kill/shared`."""

    def __init__(self, name, seen):
        self.seen, self.ready = seen, threading.Event()
        self.paho = client(name)
        self.paho.on_subscribe = lambda *_: self.ready.set()
        self.paho.on_message = self.on_message
        self.paho.loop_start()
        self.paho.subscribe("$share/group/kill/shared", options=mqtt.SubscribeOptions(qos=1))
        assert self.ready.wait(20), "no SUBACK"

    def on_message(self, _client, _user, message):
        with LOCK:
            self.seen[int(message.payload)] += 1


class Reader:
    def __init__(self):
        self.seen = {qos: Counter() for qos in QOS}
        self.order = {qos: [] for qos in QOS}
        self.ready = threading.Event()
        self.paho = client("kill-reader")
        self.paho.on_subscribe = lambda *_: self.ready.set()
        self.paho.on_message = self.on_message
        self.paho.loop_start()
        self.paho.subscribe([(f"kill/{qos}", mqtt.SubscribeOptions(qos=qos)) for qos in QOS])
        assert self.ready.wait(20), "no SUBACK"

    def on_message(self, _client, _user, message):
        qos = int(message.topic[-1])
        number = int(message.payload)
        self.seen[qos][number] += 1
        if self.seen[qos][number] == 1:
            self.order[qos].append(number)


class Writer:
    """Publishes numbers and remembers which were acknowledged."""

    def __init__(self, name, qos, seen):
        self.name, self.reader = name, seen
        self.qos, self.next, self.by_mid, self.early, self.acknowledged = qos, 0, {}, set(), set()
        self.lock = threading.Lock()
        self.paho = client(f"kill-writer-{name}")
        self.paho.on_publish = self.on_publish
        self.paho.loop_start()

    def on_publish(self, _client, _user, mid, reason, _properties):
        # PUBREL that was handled before a kill: no error then (section 3.7.2.1).
        assert reason.value < 0x80 or (self.qos, reason.value) == (2, 0x92), reason
        with self.lock:
            if mid in self.by_mid:
                self.acknowledged.add(self.by_mid.pop(mid))
            else:
                self.early.add(mid)

    def step(self):
        # What waits for the reader stays far below every bound.
        behind = self.next - min(len(self.acknowledged), len(self.reader))
        if behind > 200 or not self.paho.is_connected():
            time.sleep(0.005)
            return
        # Not under the lock: paho has its own, and calls back under that.
        info = self.paho.publish(f"kill/{self.name}", str(self.next), self.qos)
        with self.lock:
            if info.mid in self.early:
                self.early.remove(info.mid)
                self.acknowledged.add(self.next)
            else:
                self.by_mid[info.mid] = self.next
            self.next += 1

    def run(self, stopped):
        while not stopped.is_set():
            for _ in range(20):
                self.step()
            time.sleep(0.002)


def main():
    reader = Reader()
    shared = Counter()
    members = [Member(f"kill-member-{number}", shared) for number in (1, 2)]
    writers = [Writer(str(qos), qos, reader.seen[qos]) for qos in QOS]
    writers.append(Writer("shared", 1, shared))
    stopped = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(stopped,)) for writer in writers]
    for thread in threads:
        thread.start()
    print("running: ok", flush=True)
    sys.stdin.readline()
    stopped.set()
    for thread in threads:
        thread.join()
    # What was published while the last gateway died is sent again.
    end = time.monotonic() + 60
    while time.monotonic() < end:
        missing = sum(
            len(writer.acknowledged - set(writer.reader)) for writer in writers
        )
        pending = sum(writer.next - len(writer.acknowledged) for writer in writers)
        if missing == 0 and pending == 0:
            break
        time.sleep(0.1)
    time.sleep(1)
    for writer in writers:
        name, seen = writer.name, writer.reader
        lost = sorted(writer.acknowledged - set(seen))
        twice = sum(count - 1 for count in seen.values())
        order = reader.order[writer.qos] if seen is not shared else []
        backwards = sum(a > b for a, b in zip(order, order[1:]))
        figures = (
            f"figure: kill -9, QoS {name}: {writer.next} published, {len(writer.acknowledged)} acknowledged, "
            f"{len(lost)} lost, {twice} twice, {backwards} out of order"
        )
        print(figures, file=sys.stderr)
        print(f"nothing-lost-{name}: " + ("ok" if not lost else f"lost {lost[:10]}"))
        good = len(writer.acknowledged) == writer.next
        print(f"all-acknowledged-{name}: " + ("ok" if good else f"{len(writer.acknowledged)} of {writer.next}"))
        if writer.qos == 2:
            print("none-twice-2: " + ("ok" if twice == 0 else f"{twice} came twice"))
    sys.stdout.flush()


main()
