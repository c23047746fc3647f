// The seam to the real host, with functions in the place of the modules of a world.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { link } from "../src/component.js";
import { reset } from "../src/entry.js";
import { log, service } from "../src/index.js";
import { roles } from "../src/roles.js";
import { Promise as OurPromise, enqueue } from "../src/runtime/promise.js";
import { services } from "../src/service.js";

let lines;
let linked;

beforeEach(() => {
  for (const role of Object.keys(roles)) delete roles[role];
  services().length = 0;
  reset();
  lines = [];
  linked = link({
    call: { turn() {}, setHeader() {} },
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
