// The seam to the real host, with functions in the place of the modules of a world.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { link } from "../src/component.js";
import { reset } from "../src/entry.js";
import { Failure, authenticator, balancer, call, health, kv, log, service } from "../src/index.js";
import { roles } from "../src/roles.js";
import { Promise as OurPromise, enqueue } from "../src/runtime/promise.js";
import { services } from "../src/service.js";

let lines;
let linked;
let keys;

beforeEach(() => {
  for (const role of Object.keys(roles)) delete roles[role];
  services().length = 0;
  reset();
  lines = [];
  keys = [];
  linked = link({
    call: { turn() {}, setHeader: (...pair) => keys.push(pair.join("=")) },
    kv: { get() {}, set: (key) => keys.push(key), keys: () => [] },
    log: { enabled: () => true, write: (level, message, fields) => lines.push([level, message, fields]) },
    config: {},
    random: { getRandomBytes: (count) => new Uint8Array(Number(count)) },
    monotonicClock: {},
  });
});

test("what a call leaves behind does not run in the next call", () => {
  let caller;
  const leave = (name) => {
    caller = name;
    OurPromise.resolve().then(() => log.info(`${name} in the call of ${caller}`));
  };
  service({ name: "s", methods: { leave, fail: () => (leave("bo"), null.x) } });
  linked.textHandler.handleText("s", "Leave", '"ali"');
  assert.throws(() => linked.textHandler.handleText("s", "Fail", ""), { kind: "internal" });
  linked.textHandler.handleText("s", "Leave", '"eve"');
  const told = lines.filter(([level]) => level === "info").map(([, message]) => message);
  assert.deepEqual(told, ["ali in the call of ali", "bo in the call of bo", "eve in the call of eve"]);
});

test("a job that throws after its call is told in the log, and the reply stands", () => {
  const leave = () => {
    enqueue(() => {
      throw new TypeError("late");
    });
    return 1;
  };
  service({ name: "s", methods: { leave } });
  assert.equal(linked.textHandler.handleText("s", "Leave", ""), "1");
  assert.match(lines[0][1], /TypeError: late/);
});

test("all text that goes out is Unicode", () => {
  const half = "\ud800x";
  const methods = {
    tell() {
      log.info(half, { [half]: half });
      kv.set(half, 1);
      call.addHeader("name", half);
      return half;
    },
    fail() {
      throw Failure.notFound(half, { why: half });
    },
    crash() {
      throw new Error(half);
    },
  };
  service({ name: "s", methods });
  health(() => ({ status: "degraded", message: half }));
  authenticator(() => ({ name: half, roles: [half], claims: { a: half } }));
  const right = "\ufffdx";
  assert.equal(linked.textHandler.handleText("s", "Tell", ""), '"\\ud800x"');
  assert.deepEqual(lines, [["info", right, [[right, right]]]]);
  assert.deepEqual(keys, [right, `name=${right}`]);
  assert.throws(() => linked.textHandler.handleText("s", "Fail", ""), { message: right, details: '{"why":"\\ud800x"}' });
  assert.throws(() => linked.textHandler.handleText("s", "Crash", ""), { message: `Error: ${right}` });
  assert.ok(lines.at(-1)[1].isWellFormed());
  assert.equal(linked.health.check().message, right);
  assert.deepEqual(linked.authenticator.authenticate({}), { name: right, roles: [right], claims: [["a", right]], validMs: null });
});

test("what a role gives is checked before it goes out", () => {
  let given;
  balancer(() => ({ update() {}, pick: () => given }));
  for (given of [-1, 1.5, "0", NaN, 2 ** 32, {}]) {
    assert.equal(linked.balancer.pick(1n), null);
    assert.match(lines.at(-1)[1], /the balancer picked .*: it gives an index, or nothing/);
  }
  for (given of [0, 3, 2 ** 32 - 1]) assert.equal(linked.balancer.pick(1n), given);
  authenticator(() => given);
  for (given of ["ali", {}, { name: "a", roles: "r" }, { name: "a", roles: [1] }, { name: "a", claims: { a: 1 } }, { name: "a", valid: -1 }, { name: "a", valid: NaN }, { name: "a", valid: "1" }]) {
    assert.throws(() => linked.authenticator.authenticate({}), { kind: "internal", message: /the authenticator gave/ });
  }
  given = { name: "a", valid: 1.4 };
  assert.deepEqual(linked.authenticator.authenticate({}), { name: "a", roles: [], claims: [], validMs: 1 });
});
