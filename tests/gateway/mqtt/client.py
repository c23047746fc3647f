"""A client of paho-mqtt whose messages and events are waited for, and cases that are told by name."""

import queue
import sys
import threading
import time
import traceback

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

V3, V5 = mqtt.MQTTv311, mqtt.MQTTv5
PATIENCE = 20


class Client:
    """Connected when it is made, unless `connect` is false."""

    def __init__(self, address, client_id="", version=V5, clean=True, connect=True, **options):
        self.address, self.version = address, version
        self.messages, self.acks, self.publishes = queue.Queue(), {}, {}
        self.news = threading.Condition()
        self.connack, self.disconnected = None, None
        transport = options.pop("transport", "tcp")
        kind = {"clean_session": clean} if version == V3 else {}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=version, transport=transport, **kind
        )
        self.clean, self.keepalive = clean, options.pop("keepalive", 60)
        self.properties = properties(PacketTypes.CONNECT, options.pop("properties", {}))
        if transport == "websockets":
            self.paho.ws_set_options(path=options.pop("path", "/mqtt"))
        if "user" in options:
            self.paho.username_pw_set(options.pop("user"), options.pop("password", None))
        if "will" in options:
            self.paho.will_set(**options.pop("will"))
        if "tls" in options:
            self.paho.tls_set(**options.pop("tls"))
        if options:
            raise TypeError(options)
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = self._on_disconnect
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_subscribe = self._on_ack
        self.paho.on_unsubscribe = self._on_ack
        self.paho.on_publish = self._on_publish
        if connect:
            self.connect()

    def connect(self):
        self.connack, self.disconnected = None, None
        arguments = {"keepalive": self.keepalive}
        if self.version == V5:
            arguments |= {"clean_start": self.clean, "properties": self.properties}
        host, port = self.address if isinstance(self.address, tuple) else (self.address, 1883)
        self.paho.connect(host, port, **arguments)
        self.paho.loop_start()
        self.wait(lambda: self.connack or self.disconnected, "CONNACK")
        return self

    def wait(self, what, name, patience=PATIENCE):
        with self.news:
            found = self.news.wait_for(what, patience)
        if not found:
            raise TimeoutError(f"no {name}")
        return found

    def subscribe(self, filters, qos=0, identifier=None, **options):
        if self.version == V5:
            options = mqtt.SubscribeOptions(qos=qos, **options)
            given = properties(PacketTypes.SUBSCRIBE, {"SubscriptionIdentifier": identifier})
            _, mid = self.paho.subscribe(filters, options=options, properties=given)
        else:
            _, mid = self.paho.subscribe(filters, qos)
        return self.wait(lambda: self.acks.pop(mid, None), "SUBACK")

    def unsubscribe(self, filters):
        _, mid = self.paho.unsubscribe(filters)
        return self.wait(lambda: self.acks.pop(mid, None), "UNSUBACK")

    def publish(self, topic, payload=b"", qos=0, retain=False, **given):
        """Waits for the acknowledgement, and gives its reason."""
        info = self.paho.publish(
            topic, payload, qos, retain, properties=self.of_publish(given)
        )
        self.wait(lambda: info.mid in self.publishes or self.disconnected, "acknowledgement")
        if info.mid not in self.publishes:
            raise ConnectionError(f"disconnected: {self.disconnected}")
        return self.publishes.pop(info.mid)

    def of_publish(self, given):
        return properties(PacketTypes.PUBLISH, given) if self.version == V5 else None

    def message(self, patience=PATIENCE):
        try:
            return self.messages.get(timeout=patience)
        except queue.Empty:
            raise TimeoutError("no message") from None

    def payloads(self, count):
        return [self.message().payload.decode() for _ in range(count)]

    def nothing(self, patience=0.3):
        """Nothing has come, and nothing comes before what is published here."""
        try:
            message = self.messages.get(timeout=patience)
        except queue.Empty:
            return
        raise AssertionError(f"unexpected: {message.topic} {message.payload}")

    def close(self, reason=None, **given):
        if self.version == V5 and (reason is not None or given):
            code = mqtt.ReasonCode(PacketTypes.DISCONNECT, identifier=reason or 0)
            self.paho.disconnect(code, properties(PacketTypes.DISCONNECT, given))
        else:
            self.paho.disconnect()
        self.paho.loop_stop()

    def drop(self):
        """Closes the socket without DISCONNECT."""
        self.paho.on_disconnect = None
        self.paho.loop_stop()
        self.paho._sock_close()

    def _tell(self, change):
        with self.news:
            change()
            self.news.notify_all()

    def _on_connect(self, _c, _u, flags, reason, given):
        self._tell(lambda: setattr(self, "connack", (flags.session_present, reason, given)))

    def _on_disconnect(self, _c, _u, _flags, reason, given):
        # It would connect again by itself.
        self.paho.disconnect()
        self._tell(lambda: setattr(self, "disconnected", (reason, given)))

    def _on_ack(self, _c, _u, mid, reasons, given):
        self._tell(lambda: self.acks.__setitem__(mid, (reasons, given)))

    def _on_publish(self, _c, _u, mid, reason, given):
        self._tell(lambda: self.publishes.__setitem__(mid, (reason, given)))


def properties(kind, given):
    made = Properties(kind)
    for name, value in given.items():
        if value is not None:
            setattr(made, name, value)
    return made


def eventually(what, patience=PATIENCE):
    """Until `what` gives something."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError("it has not come to that")


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r} in the place of {expected!r}")


CASES = []


def case(*versions):
    """A function of address and version, for each of `versions`."""

    def add(function):
        for version in versions or (V5,):
            name = function.__name__ + ("-3" if version == V3 else "-5")
            CASES.append((name, function, version))
        return function

    return add


def run(address, chosen=()):
    """Runs the cases and prints `name: ok`, or why not."""
    for name, function, version in CASES:
        if chosen and not any(word in name for word in chosen):
            continue
        try:
            function(address, version)
            print(f"{name}: ok", flush=True)
        except Exception as error:  # noqa: BLE001
            where = traceback.extract_tb(error.__traceback__)
            lines = [f"{frame.name} {frame.lineno}" for frame in where[1:4]]
            text = f"{type(error).__name__} {error} ({', '.join(lines)})".replace("\n", " ")
            print(f"{name}: {text}", flush=True)
    sys.stdout.flush()
