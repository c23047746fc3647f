// Roles beside services.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Failure, authenticator, authorizer, balancer, call, eventHandler, frameExtension, health, kv, reply, requestInterceptor, responseInterceptor, service } from "../src/index.js";
import { roles } from "../src/roles.js";
import { Host } from "../src/testing.js";

const text = (octets) => new TextDecoder().decode(octets);
let host;

beforeEach(() => {
  for (const role of Object.keys(roles)) delete roles[role];
  host = new Host();
});

test("an event is handled with its payload", async () => {
  eventHandler(async (event) => kv.set(event.topic, event.json().n));
  await host.event("notes.put", { n: 7 });
  assert.equal(text(host.kv.get("notes.put")), "7");
  await assert.rejects(host.event("notes.put", new TextEncoder().encode("[")), { kind: "invalid-argument" });
});

test("a request goes on, is answered, or is refused", async () => {
  requestInterceptor((request) => {
    if (request.method === "Secret") throw Failure.permissionDenied("not for you");
    if (request.header("x-cached")) return reply({ from: "cache" }, { headers: { "x-hit": "1" } });
    request.setHeader("x-mark", "edge");
    request.removeHeader("x-gone");
    request.setPayload({ ...request.payload(), seen: true });
  });
  const passed = host.exchange("users", "Get", { id: 7 }, { headers: { "x-gone": "1" } });
  assert.equal(await passed.onRequest(), false);
  assert.deepEqual(passed.headers, { "x-mark": "edge" });
  assert.equal(text(passed.payload), '{"id":7,"seen":true}');
  const answered = host.exchange("users", "Get", undefined, { headers: { "x-cached": "1" } });
  assert.equal(await answered.onRequest(), true);
  assert.equal(text(answered.reply), '{"from":"cache"}');
  assert.deepEqual(answered.replyHeaders, { "x-hit": "1" });
  await assert.rejects(host.exchange("users", "Secret").onRequest(), { kind: "permission-denied" });
});

test("an interceptor that does not ask moves no payload", async () => {
  requestInterceptor((request) => void request.header("x"));
  const exchange = host.exchange("users", "Get", { id: 7 });
  await exchange.onRequest();
  assert.equal(exchange.crossings, 0);
});

test("an interceptor that gives something else is broken", async () => {
  requestInterceptor(() => ({ from: "cache" }));
  await assert.rejects(host.exchange("users", "Get").onRequest(), /the interceptor gave object: nothing goes on, a reply/);
});

test("a response is changed or replaced", async () => {
  responseInterceptor(async (request, response) => {
    if (response.failed?.kind === "unavailable") return response.setPayload({ from: "cache" });
    if (response.failed) return;
    response.setHeader("x-ms", String(response.elapsed));
    response.setPayload({ wrapped: response.payload(), by: request.service });
  });
  const exchange = host.exchange("users", "Get");
  assert.deepEqual(await exchange.onResponse({ reply: { id: 7 }, elapsed: 5 }), { wrapped: { id: 7 }, by: "users" });
  assert.deepEqual(exchange.replyHeaders, { "x-ms": "5" });
  assert.deepEqual(await exchange.onResponse({ failure: Failure.unavailable("down") }), { from: "cache" });
  await assert.rejects(exchange.onResponse({ failure: Failure.internal("broken") }), { kind: "internal", message: "broken" });
});

class Sticky {
  failed = new Set();
  update(instances) {
    this.count = instances.length;
  }
  pick(key, candidates) {
    const usable = Array.from({ length: this.count }, (_, index) => index).filter((index) => candidates.usable(index) && !this.failed.has(index));
    return usable.length ? usable[(key + candidates.random()) % usable.length] : undefined;
  }
  done(index, outcome) {
    if (outcome !== "success") this.failed.add(index);
  }
}

for (const [name, make] of [
  ["class", Sticky],
  ["function", () => new Sticky()],
]) {
  test(`all functions of a balancer share one object, made by a ${name}`, () => {
    balancer(make);
    const placed = host.balancing([{ id: "a" }, { id: "b" }, { id: "c", zone: "eu" }]);
    assert.deepEqual([0, 1, 2, 3].map((key) => placed.pick(key)), [0, 1, 2, 0]);
    assert.equal(placed.pick(0, { unusable: [0] }), 1);
    assert.equal(placed.pick(0, { random: 2 }), 2);
    placed.done(1, "timeout", 900);
    assert.equal(placed.pick(1), 2);
    assert.equal(placed.pick(0, { unusable: [0, 1, 2] }), undefined);
  });
}

test("a balancer that throws or is async leaves the pick to the gateway", () => {
  balancer(() => ({
    update() {},
    pick(key) {
      if (key) throw new Error("broken");
      return Promise.resolve(0);
    },
  }));
  const placed = host.balancing([{ id: "a" }]);
  assert.equal(placed.pick(1), undefined);
  assert.match(host.log.at(-1).message, /broken/);
  assert.equal(placed.pick(0), undefined);
  assert.match(host.log.at(-1).message, /`pick` gave a promise: it is not waited for/);
});

test("a class that cannot pick is no balancer", () => {
  assert.throws(() => balancer(class Empty {}), /the balancer Empty has no function `update`/);
});

test("health is asked", async () => {
  health(() => (kv.get("slow") ? { status: "degraded", message: "slow" } : undefined));
  assert.equal((await host.health()).status, "serving");
  kv.set("slow", true);
  assert.deepEqual(await host.health(), { status: "degraded", message: "slow" });
  host.failKv(Failure.unavailable("no disk"));
  assert.deepEqual(await host.health(), { status: "not-serving", message: "unavailable: no disk" });
});

test("callers are known and judged", async () => {
  authenticator(({ scheme, token }) => (scheme === "api-key" && token === "open sesame" ? { name: "ali", claims: { tenant: "acme" } } : undefined));
  authorizer((service) => {
    if (call.claim("tenant") === undefined) throw Failure.permissionDenied(service);
  });
  assert.equal((await host.authenticate("api-key", "open sesame")).name, "ali");
  assert.equal(await host.authenticate("bearer", "x"), undefined);
  await assert.rejects(host.authorize("users", "Get"), { kind: "permission-denied" });
  await host.context({ claims: { tenant: "acme" } }).authorize("users", "Get");
});

test("a role is given once", () => {
  eventHandler(() => {});
  assert.throws(() => eventHandler(() => {}), /two functions have the role eventHandler/);
});

test("a frame goes on changed, or is dropped or refused", async () => {
  class Stamp {
    count = 0;
    shouldHandle({ direction, payloadBytes }) {
      return direction === "inbound" && payloadBytes > 0;
    }
    async handleFrame(frame) {
      this.count++;
      if (frame.header("x-drop")) return "drop";
      if (text(frame.payload()) === "bad") throw Failure.invalidArgument("bad");
      frame.setHeader("x-a", String(this.count));
      frame.addHeader("x-b", "2");
      frame.removeHeader("x-c");
      frame.setPayload(text(frame.payload()).toUpperCase());
      return this.count === 1 ? undefined : "pass";
    }
  }
  frameExtension(Stamp);
  const payload = new TextEncoder().encode("a");
  const passed = host.frame({ headers: { "x-a": "0", "x-b": "1", "x-c": "3" }, payload });
  assert.equal(await passed.enter(), "pass");
  assert.deepEqual(passed.headers, [["x-b", "1"], ["x-a", "1"], ["x-b", "2"]]);
  assert.deepEqual([text(passed.payload), passed.crossings, passed.isSeen], ["A", 3, true]);
  assert.equal(await host.frame({ headers: { "x-drop": "1" }, payload }).enter(), "drop");
  await assert.rejects(host.frame({ payload: new TextEncoder().encode("bad") }).enter(), { kind: "invalid-argument", message: "bad" });
  const outbound = host.frame({ direction: "outbound", payload });
  assert.equal(await outbound.enter(), "pass");
  assert.deepEqual([outbound.isSeen, outbound.crossings], [false, 0]);
});

test("the bounds of a frame are the gateway's", async () => {
  const refused = [];
  const attempt = (run) => {
    try {
      run();
    } catch (failure) {
      refused.push(`${failure.kind}: ${failure.message}`);
    }
  };
  let kept;
  frameExtension(() => ({
    shouldHandle: () => true,
    handleFrame(frame) {
      kept = frame;
      attempt(() => frame.addHeader("", "x"));
      attempt(() => frame.setHeader("x", "y".repeat(65_535)));
      attempt(() => frame.setPayload(new Uint8Array(8_388_609)));
    },
  }));
  const frame = host.frame({ headers: { x: "1" } });
  assert.equal(await frame.enter(), "pass");
  assert.deepEqual(refused, [
    "invalid-argument: header name of 0 octets is not 1 to 255",
    "invalid-argument: headers of 65536 octets exceed the limit of 65535",
    "resource-exhausted: payload of 8388609 octets exceeds the limit of 8388608",
  ]);
  assert.deepEqual(frame.headers, [["x", "1"]]);
  assert.throws(() => kept.setHeader("x", "y"), { kind: "failed-precondition", message: "no frame is handled" });
  assert.deepEqual([kept.headers(), kept.payload().length], [[], 0]);
});

for (const given of [undefined, 1, "yes", Promise.resolve(true)]) {
  test(`a frame goes on unseen where it is told ${String(given)} of it`, async () => {
    frameExtension(() => ({
      shouldHandle: () => given,
      handleFrame: () => assert.fail("it is not handed over"),
    }));
    assert.equal(await host.frame().enter(), "pass");
    assert.match(host.log.at(-1).message, /shouldHandle/);
  });
}

test("a verdict that is none refuses the frame", async () => {
  frameExtension(() => ({ shouldHandle: () => true, handleFrame: () => "forget" }));
  await assert.rejects(host.frame().enter(), { kind: "internal", message: /the frame extension gave forget/ });
});

test("a class that sees no frames is no frame extension", () => {
  assert.throws(() => frameExtension(class Empty {}), /the frame extension Empty has no function `shouldHandle`/);
});

test("what was added before a failure is kept", async () => {
  const failing = service({
    name: "failing",
    methods: {
      fail() {
        call.addHeader("x-first", "1");
        call.addTrailer("x-last", "2");
        throw Failure.notFound("nothing");
      },
    },
  });
  await assert.rejects(host.call(failing, "Fail"), { kind: "not-found" });
  assert.deepEqual([host.reply.headers, host.reply.trailers], [[["x-first", "1"]], [["x-last", "2"]]]);
});
