// Role `async-stream-handler`: both bodies are streams of octets.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Failure, asyncStreamHandler, call, t } from "../src/index.js";
import { roles } from "../src/roles.js";
import { services } from "../src/service.js";
import { Host } from "../src/testing.js";
import { exportsOf, glueText, importsOf, worldText } from "../build/world.mjs";

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

test("messages keep their ends both ways, with headers before and trailers behind", async () => {
  asyncStreamHandler(async function* (service, method, request) {
    call.addHeader("x-method", `${service}/${method}`);
    for await (const message of request) yield message;
    call.addTrailer("x-end", "well");
  });
  const messages = [bytes("a"), bytes(""), new Uint8Array(200_000).fill(7), bytes("c")];
  assert.deepEqual(await host.asyncStream("echo", "Echo", messages), messages);
  assert.deepEqual(host.reply.headers, [["x-method", "echo/Echo"]]);
  assert.deepEqual(host.reply.trailers, [["x-end", "well"]]);
});

test("octets go through as they are", async () => {
  asyncStreamHandler(async function* (service, method, request) {
    call.setOctets();
    yield* request;
  });
  host.context({ requestKind: "octets" });
  const replies = await host.asyncStream("files", "Copy", [new Uint8Array(100_000).fill(1), bytes("y")]);
  assert.equal(replies.reduce((sum, piece) => sum + piece.length, 0), 100_001);
});

test("each message is answered before the next is taken", async () => {
  asyncStreamHandler(async function* (service, method, request) {
    for await (const { text } of request.json(t.object({ text: t.string() }))) yield JSON.stringify({ text: text.toUpperCase() });
  });
  function* messages() {
    for (let number = 0; number < 3; number++) {
      assert.equal(host.sent.length, number);
      yield { text: "m" };
    }
  }
  const replies = await host.asyncStream("chat", "Chat", messages());
  assert.deepEqual(replies.map(text), ['{"text":"M"}', '{"text":"M"}', '{"text":"M"}']);
  const fault = await failure(host.asyncStream("chat", "Chat", [{ text: 7 }]));
  assert.equal(fault.kind, "invalid-argument");
});

test("a failure comes after what was sent, and an exception is internal", async () => {
  asyncStreamHandler(async function* (service, method) {
    yield "1";
    if (method === "Throw") throw new Error("the cable is loose");
    throw Failure.outOfRange("ended after 1");
  });
  assert.deepEqual(await failure(host.asyncStream("count", "Fail")), { kind: "out-of-range", message: "ended after 1" });
  assert.deepEqual(host.sent.map(text), ["1"]);
  const fault = await failure(host.asyncStream("count", "Throw"));
  assert.equal(fault.kind, "internal");
  assert.match(fault.message, /the cable is loose/);
  assert.match(host.log.at(-1).message, /the cable is loose/);
});

test("a request that ends with a failure throws it", async () => {
  asyncStreamHandler(async function* (service, method, request) {
    yield* request;
  });
  assert.deepEqual(await failure(host.asyncStream("echo", "Echo", [bytes("a"), Failure.notFound("gone")])), { kind: "not-found", message: "gone" });
  assert.deepEqual(host.sent.map(text), ["a"]);
});

test("where the caller leaves the handler cleans up", async () => {
  let isClean = false;
  asyncStreamHandler(async function* () {
    try {
      for (;;) yield "tick";
    } finally {
      isClean = true;
    }
  });
  host.leaveAfter(2);
  assert.equal((await failure(host.asyncStream("clock", "Tick"))).kind, "cancelled");
  assert.ok(isClean);
  assert.equal(host.sent.length, 2);
});

test("what is no async generator and what is no message are told", async () => {
  assert.throws(() => asyncStreamHandler(async () => {}), /no `async function\*`/);
  asyncStreamHandler(async function* () {
    yield 7;
  });
  assert.match((await failure(host.asyncStream("any", "Any"))).message, /a message is a Uint8Array or a string/);
});

test("its component has this role alone and promises of the engine", () => {
  asyncStreamHandler(async function* () {});
  const exported = exportsOf({ roles, services: [], schemas: [] }, true);
  assert.deepEqual(exported, ["async-stream-handler", "health"]);
  const imports = importsOf(exported, ["kv"]);
  assert.match(worldText(exported, imports, "0.1.0"), /import postern:gateway\/async-call@0.1.0;/);
  const glue = glueText(exported, imports, "0.1.0");
  assert.match(glue, /^import "postern\/async-globals";/);
  assert.match(glue, /import \* as asyncCall from "postern:gateway\/async-call@0.1.0";/);
  assert.throws(() => exportsOf({ roles, services: [{ name: "notes", all: () => [] }], schemas: [] }, true), /put service\(notes\) into a plugin of its own/);
});
