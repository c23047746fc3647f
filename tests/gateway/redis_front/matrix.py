"""Every command by redis-py. Prints `case: ok`, or what was wrong.

matrix.py PORT [CASE...]
"""

import sys
import threading
import time

from cases import PATIENCE, case, client, equal, eventually, refused, run


@case
def the_connection(port, version):
    r = client(port, version, client_name="me")
    equal(r.ping(), True)
    equal(r.echo("a b"), b"a b")
    assert r.client_getname() in ("me", b"me")
    assert r.client_id() > 0
    info = r.client_info()
    equal((info["name"], info["resp"], int(info["db"])), ("me", str(version), 0))
    equal(len(r.client_list()), 1)
    assert r.client_no_evict("ON")
    equal(r.client_setname("you"), True)
    assert r.client_getname() in ("you", b"you")
    assert abs(r.time()[0] - time.time()) < 60
    told = r.info()
    equal((told["redis_mode"], told["loading"]), ("standalone", 0))
    r.close()


@case
def commands_are_told(port, version):
    r = client(port, version)
    count = r.command_count()
    equal(len(r.command_list()), count)
    assert b"get" in r.command_list() or "get" in r.command_list()
    assert r.execute_command("COMMAND INFO", "get")
    assert r.execute_command("COMMAND DOCS", "get")


@case
def databases(port, version):
    first, second = client(port, version, db=0), client(port, version, db=1)
    name = f"database-{version}"
    first.set(name, "first")
    equal(second.get(name), None)
    second.set(name, "second")
    equal((first.get(name), second.get(name)), (b"first", b"second"))
    refused("DB index is out of range", client(port, version, db=2).ping)


@case
def strings(port, version):
    r = client(port, version)
    key = f"string-{version}"
    r.delete(key)
    equal(r.get(key), None)
    equal(r.set(key, b"\x00\xff"), True)
    equal(r.get(key), b"\x00\xff")
    equal(r.set(key, "b", nx=True), None)
    equal(r.set(key, "c", xx=True, get=True), b"\x00\xff")
    equal(r.getset(key, "d"), b"c")
    equal(r.strlen(key), 1)
    equal(r.append(key, "ef"), 3)
    equal(r.getdel(key), b"def")
    equal(r.setnx(key, "x"), True)
    equal(r.mset({f"{key}-1": "1", f"{key}-2": "2"}), True)
    equal(r.mget(f"{key}-1", "nothing", f"{key}-2"), [b"1", None, b"2"])
    equal([r.incr(f"{key}-1"), r.incrby(f"{key}-1", 5), r.decr(f"{key}-1")], [2, 7, 6])
    equal(r.decrby(f"{key}-1", 10), -4)
    refused("value is not an integer", r.incr, key)
    equal(r.exists(key, f"{key}-1", "nothing"), 2)
    equal(r.type(key), b"string")
    equal(r.delete(key, f"{key}-1", f"{key}-2"), 3)
    equal(r.unlink(key), 0)


@case
def keys_end(port, version):
    r = client(port, version)
    key = f"end-{version}"
    r.set(key, "a", px=300)
    assert 0 < r.pttl(key) <= 300
    eventually(lambda: r.get(key) is None)
    equal((r.ttl(key), r.exists(key)), (-2, 0))
    r.set(key, "a", ex=100)
    equal(r.set(key, "b", keepttl=True), True)
    equal(r.ttl(key), 100)
    equal(r.persist(key), True)
    equal(r.ttl(key), -1)
    equal(r.expire(key, 50), True)
    equal(r.expire(key, 60, nx=True), False)
    equal(r.incr(f"{key}-number"), 1)
    equal(r.pexpire(f"{key}-number", 3000), True)
    equal(r.incr(f"{key}-number"), 2)
    eventually(lambda: r.incr(f"{key}-number") < 3)
    equal(r.getex(key, px=300), b"b")
    eventually(lambda: not r.exists(key))
    equal(r.set(key, "locked", nx=True, ex=100), True)
    equal(r.set(key, "other", nx=True, ex=1), None)
    equal(r.ttl(key), 100)
    equal(r.expireat(key, 1), True)
    equal(r.get(key), None)


@case
def scanning(port, version):
    r = client(port, version)
    names = {f"scan-{version}-{number}".encode() for number in range(250)}
    r.mset({name: "x" for name in names})
    equal(set(r.scan_iter(f"scan-{version}-*", count=7)), names)
    equal(set(r.keys(f"scan-{version}-*")), names)
    equal(set(r.scan_iter(f"scan-{version}-24?")), {n for n in names if n[7:].startswith(b"24") and len(n) == 10})
    assert r.dbsize() >= 250
    r.delete(*names)
    equal(list(r.scan_iter(f"scan-{version}-*")), [])


@case
def pipelines(port, version):
    r = client(port, version)
    pipe = r.pipeline(transaction=False)
    for number in range(10_000):
        pipe.echo(f"{number}")
    equal(pipe.execute(), [f"{number}".encode() for number in range(10_000)])
    pipe = r.pipeline(transaction=False)
    pipe.set("pipe", "1").get("pipe").incr("pipe").get("pipe").delete("pipe").get("pipe")
    equal(pipe.execute(), [True, b"1", 2, b"2", 1, None])
    for number in range(2000):
        pipe.set(f"pipe-{version}-{number}", f"{number}")
    for number in range(2000):
        pipe.get(f"pipe-{version}-{number}")
    equal(pipe.execute()[2000:], [f"{number}".encode() for number in range(2000)])
    refused("is not possible", r.pipeline().set("a", "b").execute)


def messages(pubsub, count):
    found = []
    end = time.monotonic() + PATIENCE
    while len(found) < count:
        message = pubsub.get_message(timeout=1)
        if message:
            found.append(message)
        elif time.monotonic() > end:
            raise TimeoutError(f"{len(found)} of {count} messages")
    return found


@case
def channels_and_patterns(port, version):
    r = client(port, version)
    name = f"news.{version}"
    pubsub = r.pubsub()
    pubsub.subscribe(f"{name}.a", f"{name}.b")
    pubsub.psubscribe(f"{name}.*", "new?.*")
    confirmed = messages(pubsub, 4)
    equal([m["data"] for m in confirmed], [1, 2, 3, 4])
    equal(r.publish(f"{name}.a", "x"), 3)
    told = messages(pubsub, 3)
    equal(sorted(m["type"] for m in told), ["message", "pmessage", "pmessage"])
    equal({m["data"] for m in told}, {b"x"})
    equal({m["channel"] for m in told}, {f"{name}.a".encode()})
    equal(r.publish(f"{name}.c", b"\xff"), 2)
    equal([m["data"] for m in messages(pubsub, 2)], [b"\xff", b"\xff"])
    equal(r.publish("elsewhere", "x"), 0)
    assert f"{name}.a".encode() in r.pubsub_channels()
    equal(dict(r.pubsub_numsub(f"{name}.a", "none"))[f"{name}.a".encode()], 1)
    assert r.pubsub_numpat() >= 2
    pubsub.unsubscribe(f"{name}.a")
    pubsub.punsubscribe()
    messages(pubsub, 3)
    equal(r.publish(f"{name}.a", "x"), 0)
    equal(r.publish(f"{name}.b", "y"), 1)
    equal([m["data"] for m in messages(pubsub, 1)], [b"y"])
    pubsub.ping()
    pubsub.close()
    eventually(lambda: r.publish(f"{name}.b", "y") == 0)
    refused("INVALID_ARGUMENT", r.publish, "no topic", "x")


@case
def events_keep_their_order(port, version):
    r = client(port, version)
    pubsub = r.pubsub()
    pubsub.subscribe(f"order.{version}")
    messages(pubsub, 1)
    pipe = r.pipeline(transaction=False)
    for number in range(5000):
        pipe.publish(f"order.{version}", f"{number}")
    equal(set(pipe.execute()), {1})
    equal([int(m["data"]) for m in messages(pubsub, 5000)], list(range(5000)))
    pubsub.close()


@case
def calls(port, version):
    r = client(port, version)
    equal(r.execute_command("CALL", "echo/echo", b"\x00\xff"), b"\x00\xff")
    refused("NOT_FOUND", r.execute_command, "CALL", "nobody/x", "{}")
    refused("wrong number of arguments", r.execute_command, "CALL", "a/b", "c", "d")
    pipe = r.pipeline(transaction=False)
    for number in range(500):
        pipe.execute_command("CALL", "echo/echo", f"{number}")
    equal(pipe.execute(), [f"{number}".encode() for number in range(500)])


@case
def replies_may_be_off(port, version):
    r = client(port, version, single_connection_client=True)
    connection = r.connection
    for line in (["CLIENT", "REPLY", "OFF"], ["SET", "off", "1"], ["CLIENT", "REPLY", "ON"]):
        connection.send_command(*line)
    equal(connection.read_response(), b"OK")
    for line in (["CLIENT", "REPLY", "SKIP"], ["SET", "off", "2"], ["GET", "off"]):
        connection.send_command(*line)
    equal(connection.read_response(), b"2")


def entries(found):
    """Entries of the only stream of an answer, whatever the version."""
    if not found:
        return []
    if isinstance(found, dict):
        [chunks] = found.values()
        return [entry for chunk in chunks for entry in chunk]
    [(_, listed)] = found
    return listed


@case
def streams(port, version):
    r = client(port, version)
    key = f"orders.streams.{version}"
    first = r.xadd(key, {"a": "1", "b": "\u00e9"})
    second = r.xadd(key, {"payload": b"\xff", "header:content-type": "text/x"})
    third = r.xadd(key, {"c": b"\xfe"}, maxlen=1000)
    equal(r.xlen(key), 3)
    listed = r.xrange(key)
    equal([identifier for identifier, _ in listed], [first, second, third])
    equal(listed[0][1], {b"a": b"1", b"b": "\u00e9".encode()})
    equal(listed[1][1], {b"payload": b"\xff", b"header:content-type": b"text/x"})
    equal(listed[2][1], {b"c": b"\xfe"})
    equal([i for i, _ in r.xrevrange(key, count=2)], [third, second])
    equal([i for i, _ in r.xrange(key, min=second)], [second, third])
    equal([i for i, _ in r.xrange(key, min=b"(" + first, max=second)], [second])
    equal([i for i, _ in entries(r.xread({key: first}))], [second, third])
    equal(entries(r.xread({key: "$"})), [])
    refused("ids are given", r.xadd, key, {"a": "1"}, id="5-5")
    refused("how much of a durable topic", r.xadd, key, {"a": "1"}, maxlen=5, approximate=False)
    refused("'nothing' is no durable topic", r.xadd, "nothing", {"a": "1"})
    equal(r.type(key), b"stream")
    refused("Operation against a key holding the wrong", r.get, key)
    info = r.xinfo_stream(key)
    equal((info["length"], info["last-generated-id"]), (3, third))


@case
def readers_wait_for_events(port, version):
    r = client(port, version)
    key = f"orders.wait.{version}"
    found = []

    def read():
        found.append(entries(client(port, version).xread({key: "$"}, block=20_000)))

    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: r.xadd(key, {"a": "1"}) and found)
    reader.join()
    assert found[0][0][1] == {b"a": b"1"}
    begin = time.monotonic()
    equal(entries(r.xread({key: "$"}, block=200)), [])
    assert time.monotonic() - begin >= 0.2


@case
def groups(port, version):
    r = client(port, version)
    key = f"orders.groups.{version}"
    equal(r.xgroup_create(key, "g", id="$", mkstream=True), True)
    refused("Consumer Group name already exists", r.xgroup_create, key, "g")
    refused("No such key", r.xreadgroup, "none", "a", {key: ">"})
    ids = [r.xadd(key, {"n": f"{number}"}) for number in range(6)]
    equal([i for i, _ in entries(r.xreadgroup("g", "a", {key: ">"}, count=2))], ids[:2])
    equal([i for i, _ in entries(r.xreadgroup("g", "b", {key: ">"}, count=3))], ids[2:5])
    equal([i for i, _ in entries(r.xreadgroup("g", "a", {key: ">"}, noack=True))], ids[5:])
    equal(entries(r.xreadgroup("g", "a", {key: ">"})), [])
    equal([i for i, _ in entries(r.xreadgroup("g", "a", {key: "0"}))], ids[:2])
    summary = r.xpending(key, "g")
    equal((summary["pending"], summary["min"], summary["max"]), (5, ids[0], ids[4]))
    equal(r.xack(key, "g", ids[0], ids[0]), 1)
    equal(r.xack(key, "g", "999999999-0"), 0)
    pending = r.xpending_range(key, "g", "-", "+", 10, "b")
    equal([p["message_id"] for p in pending], ids[2:5])
    equal([p["times_delivered"] for p in pending], [1, 1, 1])
    claimed = r.xclaim(key, "g", "a", 0, [ids[2]])
    equal([i for i, _ in claimed], [ids[2]])
    equal(r.xclaim(key, "g", "a", 600_000, [ids[3]]), [])
    taken = r.xautoclaim(key, "g", "c", 0, "0-0", count=2)
    equal([i for i, _ in taken[1]], [ids[1], ids[2]])
    equal(taken[0], ids[3])
    equal(r.xautoclaim(key, "g", "c", 0, taken[0], justid=True), ids[3:5])
    consumers = {c["name"]: c["pending"] for c in r.xinfo_consumers(key, "g")}
    equal(consumers, {b"a": 0, b"b": 0, b"c": 4})
    equal(r.xinfo_groups(key)[0]["pending"], 4)
    equal(r.xgroup_createconsumer(key, "g", "d"), 1)
    equal(r.xgroup_createconsumer(key, "g", "d"), 0)
    equal(r.xack(key, "g", *ids[1:5]), 4)
    equal(r.xgroup_delconsumer(key, "g", "d"), 0)
    equal(r.xgroup_setid(key, "g", ids[3]), True)
    equal([i for i, _ in entries(r.xreadgroup("g", "a", {key: ">"}))], ids[4:])
    equal(r.xgroup_destroy(key, "g"), 1)
    equal(r.xgroup_destroy(key, "g"), 0)


@case
def groups_wait_for_events(port, version):
    r = client(port, version)
    key = f"orders.blocked.{version}"
    r.xgroup_create(key, "g", id="$", mkstream=True)
    found = []

    def read():
        found.append(entries(client(port, version).xreadgroup("g", "a", {key: ">"}, block=20_000)))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.1)
    identifier = r.xadd(key, {"a": "1"})
    reader.join()
    equal([i for i, _ in found[0]], [identifier])
    equal(entries(r.xreadgroup("g", "a", {key: ">"}, block=100)), [])
    # Whoever waits and leaves takes nothing along.
    gone = client(port, version, single_connection_client=True)
    gone.connection.send_command("XREADGROUP", "GROUP", "g", "b", "BLOCK", "0", "STREAMS", key, ">")
    time.sleep(0.2)
    gone.connection.disconnect()
    identifier = r.xadd(key, {"a": "2"})
    equal([i for i, _ in entries(r.xreadgroup("g", "c", {key: ">"}, block=20_000))], [identifier])


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2:])
