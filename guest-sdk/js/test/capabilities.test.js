// Metrics of the plugin's own, and who answers for a service.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Failure, directory, metrics } from "../src/index.js";
import { Host } from "../src/testing.js";

let host;

beforeEach(() => {
  host = new Host();
});

function kind(run) {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof Failure, String(error?.stack));
    return error.kind;
  }
  return assert.fail("nothing was thrown");
}

test("what was counted is there by name and labels", () => {
  metrics.increase("jobs", 1, { queue: "mail", kind: "a" });
  metrics.increase("jobs", 2, { kind: "a", queue: "mail" });
  metrics.set("backlog", 5);
  metrics.adjust("backlog", -2);
  metrics.observe("job_seconds", 0.25);
  metrics.observe("job_seconds", 0.5);
  assert.equal(host.metric("jobs", { queue: "mail", kind: "a" }), 3);
  assert.equal(host.metric("backlog"), 3);
  assert.deepEqual(host.observed("job_seconds"), [0.25, 0.5]);
  assert.equal(host.metric("jobs"), undefined);
});

test("names, labels, values, kinds and bounds are checked", () => {
  for (const name of ["", "9a", "a-b", "jobs_total", "a".repeat(65), "é", "a\n"]) {
    assert.equal(kind(() => metrics.increase(name)), "invalid-argument", name);
  }
  for (const labels of [{ plugin: "" }, { le: "" }, { __a: "" }, { "a b": "" }, { b: "x".repeat(129) }]) {
    assert.equal(kind(() => metrics.set("a", 1, labels)), "invalid-argument");
  }
  for (const value of [-1, NaN, Infinity]) assert.equal(kind(() => metrics.increase("a", value)), "invalid-argument");
  metrics.set("g", 1);
  assert.equal(kind(() => metrics.observe("g", 1)), "failed-precondition");
  metrics.declare("h", "histogram", "Time", [1, 2]);
  assert.equal(kind(() => metrics.declare("h", "histogram", "Time", [1])), "failed-precondition");
  assert.equal(kind(() => metrics.declare("i", "histogram", "", [2, 1])), "invalid-argument");
  assert.throws(() => metrics.declare("i", "summary"), TypeError);
  assert.throws(() => metrics.increase("i", "1"), TypeError);
});

test("one series more than a manifest allows by default is refused", () => {
  for (let n = 0; n < 1000; n++) metrics.increase("a", 1, { n });
  assert.equal(kind(() => metrics.increase("a")), "resource-exhausted");
});

test("a watch tells what is there and then what is different", () => {
  host.service("users", [{ id: "users-1" }]);
  const [one] = directory.discover("users").instances;
  assert.deepEqual(one, { id: "users-1", addresses: [], weight: 100, metadata: {}, healthy: true, stale: false });
  const watch = directory.watch("users");
  assert.deepEqual(watch.next(1).instances, [one]);
  assert.equal(watch.next(1), undefined);
  host.service("users", [{ id: "users-1", healthy: false }]);
  assert.equal(watch.next(1).instances[0].healthy, false);
  host.service("users", []);
  assert.deepEqual(watch.next(1).instances, []);
});

test("a service that is not granted is not looked up", () => {
  assert.equal(kind(() => directory.discover("users")), "permission-denied");
  assert.equal(kind(() => directory.nextChange("users", "", 1)), "permission-denied");
});
