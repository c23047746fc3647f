// Methods: types in, messages out, failures by kind.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Failure, KINDS, bidirectional, call, client, clientStream, config, events, kv, log, method, onStart, serverStream, service, t } from "../src/index.js";
import { roles } from "../src/roles.js";
import { services } from "../src/service.js";
import { Host } from "../src/testing.js";

const Note = t.object("Note", { key: t.string(), text: t.string().default("") });
const text = (octets) => new TextDecoder().decode(octets);
const bytes = (string) => new TextEncoder().encode(string);
let host;

beforeEach(() => {
  for (const role of Object.keys(roles)) delete roles[role];
  services().length = 0;
  host = new Host();
});

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof Failure, String(error?.stack));
    return { kind: error.kind, message: error.message };
  }
  return assert.fail("nothing was thrown");
}

test("a message becomes the argument and the result a message", async () => {
  const notes = service({ name: "notes", methods: { swapEnds: method({ input: Note, output: Note }, async ({ key, text }) => ({ key: text, text: key })) } });
  assert.equal(text(await host.callOctets(notes, "SwapEnds", bytes('{"key":"a","text":"ü","x":1}'))), '{"key":"ü","text":"a"}');
  assert.deepEqual(await host.call(notes, "SwapEnds", { key: "a" }), { key: "", text: "a" });
});

test("a plain function takes any value and gives one", async () => {
  const plain = service({ name: "plain", methods: { got: (value) => ({ got: value }), nothing() {} } });
  assert.deepEqual(await host.call(plain, "Got", [1]), { got: [1] });
  assert.equal(text(await host.callOctets(plain, "Got")), '{"got":null}');
  assert.equal(await host.call(plain, "Nothing"), null);
});

test("octets are passed as they are", async () => {
  const blobs = service({ name: "blobs", methods: { echo: method({ input: t.octets(), output: t.octets() }, (body) => body.slice().buffer) } });
  const all = Uint8Array.from({ length: 256 }, (_, value) => value);
  assert.deepEqual(await host.callOctets(blobs, "Echo", all), all);
});

test("what cannot be read is an invalid argument with its place", async () => {
  const sums = service({ name: "sums", methods: { total: method({ input: t.array(t.object({ value: t.integer() })) }, () => 0) } });
  const fault = async (body) => {
    const { kind, message } = await failure(host.callOctets(sums, "Total", body));
    assert.equal(kind, "invalid-argument");
    return message;
  };
  assert.equal(await fault(bytes('[{"value":1},{"value":"x"}]')), "`[1].value`: expected an integer, found a string");
  assert.equal(await fault(bytes("[{}]")), "`[0]`: field `value` is missing");
  assert.match(await fault(bytes("[")), /^the message is no JSON: /);
  assert.equal(await fault(Uint8Array.of(0x22, 0xff, 0x22)), "the message is not UTF-8");
});

test("an unknown method is not found and names the known ones", async () => {
  const notes = service({ name: "notes", methods: { put() {} } });
  assert.deepEqual(await failure(host.call(notes, "Get")), { kind: "not-found", message: "service `notes` has no method `Get`; it has `Put`" });
});

test("a fallback answers the rest and knows the name", async () => {
  const notes = service({ name: "notes", methods: { put: () => "put" }, fallback: (value, name) => [name, value] });
  assert.equal(await host.call(notes, "Put"), "put");
  assert.deepEqual(await host.call(notes, "Any", 7), ["Any", 7]);
});

for (const kind of KINDS) {
  test(`a failure keeps ${kind}, message and details`, async () => {
    const refusals = service({
      name: "refusals",
      methods: {
        async refuse() {
          throw new Failure(kind, "no user `7`", { id: 7 });
        },
      },
    });
    await assert.rejects(host.call(refusals, "Refuse"), { kind, message: "no user `7`", details: { id: 7 } });
  });
}

test("an exception is an internal failure and its stack is logged", async () => {
  const broken = service({ name: "broken", methods: { read: ({ a }) => a.b, later: async () => Promise.reject(new RangeError("far")), word: () => { throw "a word"; } } });
  const { kind, message } = await failure(host.call(broken, "Read", {}));
  assert.equal(kind, "internal");
  assert.match(message, /^TypeError: /);
  assert.match(host.log.at(-1).message, /\bread \(.*service\.test\.js/);
  assert.equal((await failure(host.call(broken, "Later"))).message, "RangeError: far");
  assert.equal((await failure(host.call(broken, "Word"))).message, "thrown: a word");
  assert.equal(await host.call(broken, "Read", { a: { b: 1 } }), 1);
});

test("a result that is not what is declared is an internal failure", async () => {
  const notes = service({ name: "notes", methods: { find: method({ output: Note }, () => ({ text: "x" })), big: () => 1n, open: () => [].values() } });
  assert.deepEqual(await failure(host.call(notes, "Find")), { kind: "internal", message: "method Find gave what is not declared: field `key` is missing" });
  assert.match((await failure(host.call(notes, "Big"))).message, /^the value has no form in JSON/);
  assert.equal((await failure(host.call(notes, "Open"))).message, "method Open gave a generator: declare it with serverStream");
});

test("a generator that is not declared as a stream is refused when it is declared", () => {
  assert.throws(() => service({ name: "s", methods: { *count() {} } }), /method count is a generator: declare it with serverStream/);
  assert.throws(() => service({ name: "s", methods: { async *count() {} } }), /serverStream/);
});

for (const [kind, count] of Object.entries({
  sync: function* ({ to }) {
    call.addHeader("x-first", "1");
    for (let value = 1; value <= to; value++) yield value;
    call.addTrailer("x-count", String(to));
  },
  async: async function* ({ to }) {
    call.addHeader("x-first", "1");
    for (let value = 1; value <= to; value++) yield value;
    call.addTrailer("x-count", String(to));
  },
})) {
  test(`a ${kind} generator sends message after message`, async () => {
    const numbers = service({ name: "numbers", methods: { count: serverStream({ input: t.object({ to: t.integer() }), output: t.integer() }, count) } });
    assert.deepEqual(await host.stream(numbers, "Count", [{ to: 2 }]), [1, 2]);
    assert.deepEqual(host.reply.headers, [["x-first", "1"]]);
    assert.deepEqual(host.reply.trailers, [["x-count", "2"]]);
    assert.deepEqual(await host.stream(numbers, "Count", [{ to: 0 }]), []);
  });
}

test("messages are taken one after the other, in for and in for await", async () => {
  const sum = async (numbers) => {
    let sum = 0;
    for await (const value of numbers) sum += value;
    return sum;
  };
  const numbers = service({ name: "numbers", methods: { later: clientStream({ input: t.integer() }, sum), atOnce: clientStream({ input: t.integer() }, (all) => Array.from(all).length) } });
  assert.deepEqual(await host.stream(numbers, "Later", [1, 41]), [42]);
  assert.deepEqual(await host.stream(numbers, "AtOnce", [1, 41]), [2]);
  assert.deepEqual(await host.stream(numbers, "Later"), [0]);
  assert.equal((await failure(host.stream(numbers, "Later", [1, "x"]))).kind, "invalid-argument");
  assert.equal((await failure(host.stream(numbers, "Later", [1, Failure.cancelled("gone")]))).kind, "cancelled");
});

test("a reply leaves before the next message is taken", async () => {
  const lines = service({
    name: "lines",
    methods: {
      chat: bidirectional({ input: t.string(), output: t.string() }, async function* (lines) {
        for await (const line of lines) yield line.toUpperCase();
      }),
    },
  });
  function* turns() {
    yield "a";
    assert.deepEqual(host.sent.map(text), ['"A"']);
    yield "b";
  }
  assert.deepEqual(await host.stream(lines, "Chat", turns()), ["A", "B"]);
});

for (const isAsync of [false, true]) {
  test(`a stream whose caller leaves cleans up, ${isAsync ? "async" : "sync"}`, async () => {
    const seen = [];
    const body = isAsync
      ? async function* () {
          try {
            for (;;) yield 1;
          } finally {
            seen.push("cleaned");
          }
        }
      : function* () {
          try {
            for (;;) yield 1;
          } finally {
            seen.push("cleaned");
          }
        };
    const numbers = service({ name: "numbers", methods: { forever: serverStream({}, body) } });
    assert.equal((await failure(host.leaveAfter(2).stream(numbers, "Forever"))).kind, "cancelled");
    assert.deepEqual(seen, ["cleaned"]);
    assert.equal(host.sent.length, 2);
  });
}

test("a unary method may be called as a stream of one", async () => {
  const notes = service({ name: "notes", methods: { double: (value) => value * 2 } });
  assert.deepEqual(await host.stream(notes, "Double", [21]), [42]);
});

test("a method knows its call", async () => {
  const who = service({
    name: "who",
    methods: {
      ask() {
        call.setStatus(201);
        return [call.header("x-a"), call.header("x-b") ?? null, call.peer().address, call.principal().roles, call.claim("t"), call.http().path, call.remaining()];
      },
    },
  });
  host.context({
    headers: { "x-a": "1", "x-b": Uint8Array.of(0xff) },
    peer: { transport: "tcp", address: "127.0.0.1:1" },
    principal: { name: "ali", roles: ["guest"] },
    claims: { t: "acme" },
    http: { method: "GET", scheme: "", authority: "", path: "/a" },
    remaining: 250,
  });
  assert.deepEqual(await host.call(who, "Ask"), ["1", null, "127.0.0.1:1", ["guest"], "acme", "/a", 250]);
  assert.equal(host.reply.status, 201);
});

test("what is set too late or too large is refused", async () => {
  const late = service({
    name: "late",
    methods: {
      status: serverStream({}, function* () {
        yield 1;
        call.setStatus(201);
      }),
      header: (length) => call.addHeader("n".repeat(length), "v"),
    },
  });
  assert.equal((await failure(host.stream(late, "Status"))).kind, "failed-precondition");
  assert.equal(await host.call(late, "Header", 255), null);
  assert.equal((await failure(host.call(late, "Header", 256))).message, "header name of 256 octets is not 1 to 255");
});

test("the store keeps typed values", () => {
  kv.set("a", { key: "a" });
  assert.deepEqual(kv.get("a", Note), { key: "a", text: "" });
  assert.equal(kv.get("b"), undefined);
  assert.equal(kv.update("n", (n = 0) => n + 1), 1);
  assert.equal(kv.update("n", (n) => n + 1, t.integer()), 2);
  assert.equal(kv.insert("n", 9), false);
  assert.deepEqual(kv.keys(), ["a", "n"]);
  assert.deepEqual(kv.keys("", { after: "a" }), ["n"]);
  assert.equal(kv.delete("a"), true);
  assert.equal(kv.delete("a"), false);
  assert.throws(() => kv.get("k".repeat(1025)), /key of 1025 octets/);
  assert.throws(() => kv.setOctets("k", new Uint8Array(1048577)), /value of 1048577 octets/);
  kv.setOctets("k", new Uint8Array(1048576));
  assert.throws(() => kv.get("n", t.string()), { kind: "data-loss", message: "the value of key `n` cannot be read: expected a string, found a number" });
});

test("settings are read as what is asked for", () => {
  new Host({ config: { name: "42", limit: 42, on: true, list: ["a"] } });
  assert.equal(config.get("name"), "42");
  assert.equal(config.get("name", t.string()), "42");
  assert.equal(config.get("limit", t.integer()), 42);
  assert.deepEqual(config.get("list", t.array(t.string())), ["a"]);
  assert.equal(config.get("absent", t.integer()), undefined);
  assert.throws(() => config.get("on", t.integer()), /config key `on` has value `true`, not integer/);
  assert.throws(() => config.require("absent"), /config key `absent` is missing/);
});

test("other services are called as far as they are granted", () => {
  host.answer("users", "Get", { name: "Ada" }).answer("users", "Delete", Failure.notFound("no user `7`"));
  host.answer("users", "Echo", ({ body }) => body);
  assert.deepEqual(client.call("users", "Get", 7, { type: t.object({ name: t.string() }), headers: { x: "1" }, timeout: 500 }), { name: "Ada" });
  assert.deepEqual(host.clientCalls, [{ service: "users", method: "Get", body: bytes("7"), headers: { x: "1" }, timeout: 500 }]);
  assert.deepEqual(client.callOctets("users", "Echo", Uint8Array.of(0xff)), Uint8Array.of(0xff));
  assert.throws(() => client.call("users", "Delete", 7), { kind: "not-found" });
  assert.throws(() => client.call("secrets", "Get"), /service `secrets` is not granted/);
  assert.throws(() => client.call("users", "Get", 7, { type: t.integer() }), /the reply of `users\/Get` cannot be read/);
});

test("events are published on granted topics", () => {
  host.topic("notes.put", 2);
  assert.equal(events.publish("notes.put", { n: 1 }), 2);
  assert.deepEqual(host.published, [{ topic: "notes.put", contentType: "application/json", payload: bytes('{"n":1}') }]);
  assert.throws(() => events.publish("other", 1), { kind: "permission-denied" });
});

test("lines have levels and fields, and one that is not kept is not made", () => {
  host.logLevel("info");
  log.debug(() => assert.fail("made"));
  log.info("read", { user: 7, at: { x: 1 } });
  assert.deepEqual(host.log, [{ level: "info", message: "read", fields: { user: "7", at: '{"x":1}' } }]);
});

test("a start that fails fails calls and health", async () => {
  let tries = 0;
  onStart(async () => {
    tries++;
    await null;
    config.require("url");
  });
  const notes = service({ name: "notes", methods: { put() {} } });
  assert.equal((await failure(host.call(notes, "Put"))).message, "config key `url` is missing");
  assert.deepEqual(await host.health(), { status: "not-serving", message: "failed-precondition: config key `url` is missing" });
  assert.equal(tries, 1);
});

test("outside of a call the host is absent", () => {
  host.close();
  assert.throws(() => config.get("word"), /the host is asked for `configGet` outside of a call/);
});

test("names that only the fallback knows are not kept", async (context) => {
  const open = service({ name: "open", methods: { known: () => 1 }, fallback: (_, name) => name });
  const kept = context.mock.method(Map.prototype, "set");
  for (let index = 0; index < 3; index++) assert.equal(await host.call(open, `Any${index}`, null), `Any${index}`);
  await host.call(open, "Known", null);
  assert.deepEqual(kept.mock.calls.map((each) => each.arguments[0]).filter((key) => typeof key === "string"), ["Known"]);
});
