"""A module of VYRA, revision J, by the conventions of its reference: what its library does on Redis and on
Unix sockets, written on redis-py and the socket module, since the library itself is on no index.

    peer.py serve-redis PORT        module robot, id 1: calculate, fails, run_task, moved
    peer.py ask-redis PORT          asks module edge, id gw01
    peer.py serve-sockets FOLDER    the same over sockets
    peer.py ask-sockets FOLDER

What it sees it writes as lines of JSON. A line on the standard input makes a server publish it.
"""

import hashlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time
import uuid

EXPIRY = 3600
PREFIX, EDGE = "robot_1", "edge_gw01"
lock = threading.Lock()


def tell(**what):
    with lock:
        print(json.dumps(what), flush=True)


def is_exact(text):
    """Whether a message has the octets that the library itself would have written."""
    return json.dumps(json.loads(text)) == text


def calculate(data):
    return {"result": data["x"] + data["y"], "unit": "°C"}


def fails(_):
    raise ValueError("so it is")


FUNCTIONS = {"calculate": calculate, "fails": fails}


# Redis.


def connect(port):
    import redis

    return redis.Redis(host="127.0.0.1", port=int(port), decode_responses=True)


def subscribed(client, *channels):
    pubsub = client.pubsub(ignore_subscribe_messages=False)
    pubsub.subscribe(*channels)
    for _ in channels:
        confirmation = pubsub.get_message(timeout=10)
        assert confirmation["type"] == "subscribe", confirmation
    return pubsub


def messages(pubsub, timeout):
    """Payloads that come within a time, each with its channel."""
    until = time.monotonic() + timeout
    while (left := until - time.monotonic()) > 0:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=left)
        if message is not None:
            yield message["channel"], message["data"]


def state(client, topic, goal, status):
    value = json.dumps({"status": status, "timestamp": time.time()})
    client.set(f"{topic}/{goal}/state", value, ex=EXPIRY)


def work(client, topic, message, cancelled):
    """Feedback three times and a result; a goal with "abort" is aborted after the first feedback."""
    goal = message["goal_id"]
    state(client, topic, goal, "EXECUTING")
    for step in range(1, message["goal"].get("steps", 3) + 1):
        if cancelled.wait(0.05):
            state(client, topic, goal, "CANCELED")
            return
        client.set(f"{topic}/{goal}/feedback", json.dumps({"step": step}), ex=EXPIRY)
        notice = {"type": "feedback", "goal_id": goal}
        client.publish(f"{topic}/{goal}/updates", json.dumps(notice))
        # A reader that is slow finds a later feedback under the key.
        time.sleep(0.1)
        if message["goal"].get("abort"):
            state(client, topic, goal, "ABORTED")
            return
    client.set(f"{topic}/{goal}/result", json.dumps({"done": True}), ex=EXPIRY)
    state(client, topic, goal, "SUCCEEDED")
    notice = {"type": "result", "goal_id": goal}
    client.publish(f"{topic}/{goal}/updates", json.dumps(notice))


def serve_redis(port):
    client = connect(port)
    task = f"{PREFIX}/run_task"
    channels = [f"srv:{PREFIX}/{name}:requests" for name in FUNCTIONS]
    channels += [f"{task}/goal", f"{task}/cancel"]
    pubsub = subscribed(client, *channels)
    goals = {}
    threading.Thread(target=publish_lines, args=(client,), daemon=True).start()
    tell(ready=True)
    for channel, payload in messages(pubsub, 3600):
        message = json.loads(payload)
        tell(channel=channel, exact=is_exact(payload))
        if channel == f"{task}/goal":
            goal = message["goal_id"]
            state(client, task, goal, "ACCEPTED")
            accepted = not message["goal"].get("refuse", False)
            answer = {"goal_id": goal, "accepted": accepted}
            client.publish(message["response_channel"], json.dumps(answer))
            if accepted:
                goals[goal] = threading.Event()
                arguments = (client, task, message, goals[goal])
                threading.Thread(target=work, args=arguments, daemon=True).start()
        elif channel == f"{task}/cancel":
            goals[message["goal_id"]].set()
            tell(cancelled=message["goal_id"])
            answer = {"goal_id": message["goal_id"], "canceled": True}
            client.publish(message["response_channel"], json.dumps(answer))
        else:
            name = channel.removeprefix(f"srv:{PREFIX}/").removesuffix(":requests")
            try:
                result = FUNCTIONS[name](message["data"])
            except Exception:
                continue
            answer = {"request_id": message["request_id"], "data": result}
            client.publish(message["response_channel"], json.dumps(answer))


def publish_lines(client):
    for line in sys.stdin:
        client.publish(f"{PREFIX}/moved", json.dumps(json.loads(line)))


class Asker:
    """A client of module edge over Redis."""

    def __init__(self, port):
        self.client = connect(port)
        self.id = uuid.uuid4().hex[:8]

    def request(self, function, data, timeout):
        topic = f"{EDGE}/{function}"
        channel = f"srv:{topic}:response:{self.id}"
        pubsub = subscribed(self.client, channel)
        request = {"request_id": str(uuid.uuid4()), "data": data, "response_channel": channel}
        self.client.publish(f"srv:{topic}:requests", json.dumps(request))
        for _, payload in messages(pubsub, timeout):
            answer = json.loads(payload)
            if answer["request_id"] == request["request_id"]:
                tell(function=function, data=answer["data"], exact=is_exact(payload))
                return
        tell(function=function, data=None, exact=True)

    def goal(self, function, goal, timeout, cancel_after=None):
        topic, goal_id = f"{EDGE}/{function}", str(uuid.uuid4())
        answers, updates = f"{topic}/response/{self.id}", f"{topic}/{goal_id}/updates"
        pubsub = subscribed(self.client, answers, updates)
        message = {"goal_id": goal_id, "goal": goal, "response_channel": answers}
        self.client.publish(f"{topic}/goal", json.dumps(message))
        accepted, canceled, feedback, result, exact = None, None, 0, None, True
        for channel, payload in messages(pubsub, timeout):
            told = json.loads(payload)
            exact = exact and is_exact(payload)
            if channel == answers:
                accepted, canceled = told.get("accepted", accepted), told.get("canceled", canceled)
                if canceled is not None:
                    break
                continue
            kind = told["type"]
            key = f"{topic}/{goal_id}/{kind}"
            assert self.client.type(key) == "string", key
            value = self.client.get(key)
            exact = exact and is_exact(value)
            if kind == "result":
                result = json.loads(value)
                break
            feedback += 1
            if feedback == cancel_after:
                cancel = {"goal_id": goal_id, "response_channel": answers}
                self.client.publish(f"{topic}/cancel", json.dumps(cancel))
        # The state of a goal that is aborted is all that is told of it.
        key = f"{topic}/{goal_id}/state"
        status = json.loads(self.client.get(key) or "{}").get("status")
        expiry = self.client.ttl(key)
        tell(function=function, accepted=accepted, canceled=canceled, feedback=feedback, result=result,
             status=status, expires=EXPIRY - 60 < expiry <= EXPIRY, exact=exact)

    def cancel_unknown(self, function):
        topic = f"{EDGE}/{function}"
        answers = f"{topic}/response/{self.id}"
        pubsub = subscribed(self.client, answers)
        cancel = {"goal_id": str(uuid.uuid4()), "response_channel": answers}
        self.client.publish(f"{topic}/cancel", json.dumps(cancel))
        for _, payload in messages(pubsub, 10):
            answer = json.loads(payload)
            tell(canceled=answer["canceled"], has_error="error" in answer, exact=is_exact(payload))
            return

    def events(self, function):
        pubsub = subscribed(self.client, f"{EDGE}/{function}")
        tell(ready=True)
        for _, payload in messages(pubsub, 60):
            tell(event=json.loads(payload), exact=is_exact(payload))
            return


def ask_redis(port):
    asker = Asker(port)
    asker.request("calculate", {"x": 10, "unit": "°C"}, 20)
    # Nobody has this service: the caller gives up by itself.
    asker.request("fails", {}, 3)
    asker.goal("list_users", {}, 30)
    asker.goal("list_users", {}, 30, cancel_after=1)
    asker.goal("fails_late", {}, 3)
    asker.cancel_unknown("list_users")
    # What is no request is passed over.
    asker.client.publish(f"srv:{EDGE}/calculate:requests", "plain")
    asker.client.publish(f"srv:{EDGE}/calculate:requests", json.dumps({"data": {}}))
    asker.request("calculate", {"again": True}, 20)
    asker.events("events")


# Unix sockets.


def read(connection):
    """As the library reads: each part once."""
    (length,) = struct.unpack(">I", connection.recv(4))
    return connection.recv(length).decode()


def framed(value):
    payload = json.dumps(value).encode()
    return struct.pack(">I", len(payload)) + payload


def serve_sockets(folder):
    for name, function in FUNCTIONS.items():
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(os.path.join(folder, f"srv_robot_{PREFIX}_{name}.sock"))
        server.listen()
        threading.Thread(target=answer, args=(server, function), daemon=True).start()
    tell(ready=True)
    for line in sys.stdin:
        publish_datagram(folder, f"{PREFIX}/moved", json.loads(line))


def answer(server, function):
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                payload = read(connection)
                tell(request=json.loads(payload), exact=is_exact(payload))
                connection.sendall(framed(function(json.loads(payload))))
            except Exception:
                pass


def publish_datagram(folder, topic, value):
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for name in os.listdir(folder):
        if name.startswith("sub_") and name.endswith(".sock.topic"):
            path = os.path.join(folder, name)
            with open(path) as file:
                is_wanted = file.read().strip() == topic
            if is_wanted:
                sender.sendto(json.dumps(value).encode(), path.removesuffix(".topic"))


def request_socket(folder, function, data):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(os.path.join(folder, f"srv_edge_{EDGE}_{function}.sock"))
    connection.sendall(framed(data))
    try:
        payload = read(connection)
        is_closed = connection.recv(1) == b""
        tell(function=function, data=json.loads(payload), exact=is_exact(payload), closed=is_closed)
    except struct.error:
        tell(function=function, data=None, exact=True, closed=True)


def ask_sockets(folder):
    request_socket(folder, "calculate", {"x": 10, "unit": "°C"})
    request_socket(folder, "fails", {})
    topic, instance = f"{EDGE}/events", uuid.uuid4().hex[:8]
    name = hashlib.sha256(f"asker_{topic}_{instance}".encode()).hexdigest()[:12]
    path = os.path.join(folder, f"sub_asker_{name}.sock")
    subscriber = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    subscriber.bind(path)
    with open(f"{path}.topic", "w") as file:
        file.write(topic)
    tell(ready=True)
    readable, _, _ = select.select([subscriber], [], [], 60)
    payload = subscriber.recv(65536).decode() if readable else "null"
    tell(event=json.loads(payload), exact=is_exact(payload))


ROLES = {
    "serve-redis": serve_redis,
    "ask-redis": ask_redis,
    "serve-sockets": serve_sockets,
    "ask-sockets": ask_sockets,
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](sys.argv[2])
