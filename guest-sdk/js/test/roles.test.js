// Roles beside services.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Failure, authenticator, authorizer, balancer, call, eventHandler, health, kv, reply, requestInterceptor, responseInterceptor } from "../src/index.js";
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
  assert.match(host.log.at(-1).message, /its functions are not async/);
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
