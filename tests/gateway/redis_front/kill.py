"""Writes while the gateway is killed, then looks for what was acknowledged: kill.py PORT"""

import sys
import threading

import redis
from cases import client, eventually

PORT = int(sys.argv[1])
STREAM = "orders.kill"
stopping = threading.Event()
added, counted, keys = [], [0, 0], {}
handled, again = set(), []


def connected():
    return client(PORT, retry=None, socket_timeout=10)


def writing(step):
    """Repeats `step` with a client that connects again."""

    def run():
        r, number = connected(), 0
        while not stopping.is_set():
            number += 1
            try:
                step(r, number)
            except (redis.exceptions.RedisError, OSError):
                r = connected()
                stopping.wait(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def add(r, number):
    added.append((r.xadd(STREAM, {"n": f"{number}"}), number))


def count(r, _):
    counted[1] += 1
    counted[0] = r.incr("kill-count")


def put(r, number):
    name = f"kill-{number % 50}"
    r.set(name, f"{number}")
    keys[name] = number


def consume(r, _):
    """What was acknowledged does not come again; what was not may."""
    found = r.xreadgroup("g", "c", {STREAM: ">"}, count=20, block=200) or {}
    listed = found.values() if isinstance(found, dict) else [entries for _, entries in found]
    for entries in listed:
        entries = entries[0] if entries and isinstance(entries[0], list) else entries
        for identifier, _ in entries:
            if identifier in handled:
                again.append(identifier)
            if r.xack(STREAM, "g", identifier) == 1:
                handled.add(identifier)


connected().xgroup_create(STREAM, "g", id="0", mkstream=True)
threads = [writing(step) for step in (add, count, put, consume)]
eventually(lambda: added and counted[0] and keys and handled)
print("running: ok", flush=True)
sys.stdin.readline()
stopping.set()
for thread in threads:
    thread.join()

r = connected()
stored, after = {}, "-"
while True:
    page = r.xrange(STREAM, min=after, count=5000)
    stored |= {identifier: int(fields[b"n"]) for identifier, fields in page}
    if len(page) < 5000:
        break
    after = b"(" + page[-1][0]
lost = [pair for pair in added if stored.get(pair[0]) != pair[1]]
print(f"figure: {len(added)} entries acknowledged, {len(stored)} stored, {len(lost)} lost")
print("entries: ok" if not lost and added else f"entries: {lost[:5]}")
while r.xinfo_groups(STREAM)[0]["lag"]:
    consume(r, 0)
unread = [identifier for identifier, _ in added if identifier not in handled]
print(f"figure: {len(handled)} entries handled, {len(again)} again, {len(unread)} not read")
print("group: ok" if not again else f"group: {again[:5]}")
found = int(r.get("kill-count"))
between = counted[0] <= found <= counted[1]
print(f"figure: {counted[0]} counted, {found} stored")
print("numbers: ok" if between else f"numbers: {counted} {found}")
wrong = {name: (number, r.get(name)) for name, number in keys.items() if int(r.get(name)) < number}
print("keys: ok" if not wrong and keys else f"keys: {wrong}", flush=True)
