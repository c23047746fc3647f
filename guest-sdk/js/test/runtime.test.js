// The globals of a component, held against those of Node where Node has them.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { structuredClone as ourClone } from "../src/runtime/clone.js";
import { console as ourConsole, formatted } from "../src/runtime/console.js";
import { Promise as OurPromise, enqueue, runJobs } from "../src/runtime/promise.js";
import { crypto as ourCrypto, random, setSource } from "../src/runtime/random.js";
import { TextDecoder as OurDecoder, TextEncoder as OurEncoder } from "../src/runtime/text.js";
import * as timers from "../src/runtime/timers.js";
import { Host } from "../src/testing.js";

afterEach(() => timers.clearAll());

const TEXTS = ["", "a", "ascii only", "Grüße, 世界 🌍", "\ud800lone", "\u0000\u007f\u0080\u07ff\u0800\uffff\u{10000}\u{10ffff}", "x".repeat(10_000), "ü".repeat(9_000)];

test("text is encoded as Node encodes it", () => {
  for (const text of TEXTS) assert.deepEqual(new OurEncoder().encode(text), new TextEncoder().encode(text));
  const [ours, theirs] = [new Uint8Array(6), new Uint8Array(6)];
  assert.deepEqual(new OurEncoder().encodeInto("aü世🌍", ours), new TextEncoder().encodeInto("aü世🌍", theirs));
  assert.deepEqual(ours, theirs);
});

const OCTETS = [
  ...TEXTS.map((text) => Buffer.from(text)),
  Buffer.from("efbbbf61", "hex"),
  ...["ff", "c0af", "e08080", "eda080", "f08080af", "f4908080", "e4b8", "e4b861", "c3", "80", "61c3", "f09f8c", "f09f8c8d80", "c3a9ff61e4b896"].map((hex) => Buffer.from(hex, "hex")),
];

test("octets are decoded as Node decodes them, what is broken as well", () => {
  for (const octets of OCTETS) {
    const outcome = (Decoder, options) => {
      try {
        return new Decoder("utf-8", options).decode(octets);
      } catch (error) {
        return error.name;
      }
    };
    for (const options of [{}, { fatal: true }, { ignoreBOM: true }]) {
      assert.equal(outcome(OurDecoder, options), outcome(TextDecoder, options), `${octets.toString("hex").slice(0, 40)} ${JSON.stringify(options)}`);
    }
  }
  assert.equal(new OurDecoder("latin1").decode(Uint8Array.of(0xe9)), "é");
  assert.throws(() => new OurDecoder("utf-16"), RangeError);
});

test("a character that comes in pieces is one", () => {
  const octets = Buffer.from("a🌍ü世");
  for (let size = 1; size < 4; size++) {
    const decoder = new OurDecoder();
    let text = "";
    for (let at = 0; at < octets.length; at += size) text += decoder.decode(octets.subarray(at, at + size), { stream: true });
    assert.equal(text + decoder.decode(), "a🌍ü世");
  }
});

test("values are cloned deeply, with cycles and shared parts", () => {
  const value = { date: new Date(5), map: new Map([[{ k: 1 }, new Set([1])]]), list: [1, undefined, null, 1n, NaN], octets: Uint8Array.of(1, 2), pattern: /a/g };
  value.self = value;
  value.again = value.date;
  const copy = ourClone(value);
  assert.deepEqual(copy, structuredClone(value));
  assert.notEqual(copy.date, value.date);
  assert.equal(copy.again, copy.date);
  assert.equal(copy.self, copy);
  assert.ok(ourClone(new RangeError("far")) instanceof RangeError);
  for (const refused of [() => {}, Symbol("s"), { deep: [() => {}] }]) assert.throws(() => ourClone(refused), { name: "DataCloneError" });
});

/** The order in which things happen is that of the engine's own promises. */
async function order(Type, run) {
  const seen = [];
  run(Type, (mark) => seen.push(mark));
  if (Type === OurPromise) runJobs();
  else await new Promise((resolve) => setTimeout(resolve, 5));
  return seen;
}

const SCRIPTS = {
  "chains interleave": (P, see) => {
    P.resolve(1).then(() => see("a1")).then(() => see("a2")).then(() => see("a3"));
    P.resolve(1).then(() => see("b1")).then(() => see("b2"));
    see("now");
  },
  "a promise as result takes two jobs more": (P, see) => {
    P.resolve().then(() => P.resolve(4)).then(see);
    P.resolve().then(() => see(1)).then(() => see(2)).then(() => see(3)).then(() => see(5));
  },
  "rejections pass": (P, see) => {
    P.reject(new Error("x")).then(() => see("no")).catch((error) => see(error.message)).finally(() => see("done")).then((value) => see(String(value)));
    new P(() => {
      throw new Error("thrown");
    }).catch((error) => see(error.message));
  },
  "the first settling counts": (P, see) => {
    new P((resolve, reject) => {
      resolve(1);
      reject(2);
      resolve(3);
    }).then(see, see);
  },
  "a promise cannot be its own result": (P, see) => {
    const promise = P.resolve().then(() => promise);
    promise.catch((error) => see(error instanceof TypeError));
  },
  "a thenable that throws rejects": (P, see) => {
    P.resolve({
      get then() {
        throw "get";
      },
    }).catch(see);
    P.resolve({
      then(resolve) {
        resolve("first");
        throw "late";
      },
    }).then(see);
  },
  "all, allSettled, any, race": (P, see) => {
    const late = P.resolve().then(() => "late");
    P.all([1, late, P.resolve(3)]).then((all) => see(all.join()));
    P.all([]).then((all) => see(`none ${all.length}`));
    P.all([late, P.reject("no")]).catch(see);
    P.allSettled([1, P.reject("r")]).then((all) => see(JSON.stringify(all)));
    P.any([P.reject(1), late]).then(see);
    P.any([P.reject(1)]).catch((error) => see(error.errors.join()));
    P.any([]).catch((error) => see(error.constructor.name));
    P.race([late, "now"]).then(see);
  },
};
for (const [name, script] of Object.entries(SCRIPTS)) {
  test(`promises: ${name}`, async () => {
    assert.deepEqual(await order(OurPromise, script), await order(Promise, script));
  });
}

test("more jobs than fit in one go are run in their order", () => {
  const seen = [];
  for (let index = 0; index < 5000; index++) enqueue(() => seen.push(index));
  runJobs();
  assert.equal(seen.length, 5000);
  assert.ok(seen.every((value, index) => value === index));
});

/** Time that passes only while somebody waits. */
function virtualTime(t) {
  let now = 1_000;
  t.mock.method(Date, "now", () => now);
  const waits = [];
  timers.setSleep((ms) => {
    waits.push(ms);
    now += ms;
  });
  return waits;
}

test("timers run in the order of their time, within the call", (t) => {
  const waits = virtualTime(t);
  const seen = [];
  const promise = new OurPromise((resolve) => {
    timers.setTimeout((word) => seen.push(word), 8, "third");
    timers.setTimeout(() => seen.push("first"), 2);
    timers.setTimeout(() => seen.push("second"), 2);
    timers.clearTimeout(timers.setTimeout(() => seen.push("cleared"), 1));
    timers.setTimeout(() => resolve("done"), 12);
    timers.setTimeout(() => seen.push("never"), 13);
    timers.queueMicrotask(() => seen.push("job"));
  });
  assert.equal(timers.settle(promise), "done");
  assert.deepEqual(seen, ["job", "first", "second", "third"]);
  assert.deepEqual(waits, [2, 6, 4]);
  assert.ok(timers.hasTimers());
  assert.equal(timers.clearAll(), 1);
});

test("an interval goes on until it is cleared", (t) => {
  const waits = virtualTime(t);
  let count = 0;
  const promise = new OurPromise((resolve) => {
    const id = timers.setInterval(() => {
      if (++count === 3) {
        timers.clearTimeout(id);
        resolve(count);
      }
    }, 5);
  });
  assert.equal(timers.settle(promise), 3);
  assert.deepEqual(waits, [5, 5, 5]);
  assert.ok(!timers.hasTimers());
});

test("a promise that nothing can settle is told, and one that is rejected throws", () => {
  assert.throws(() => timers.settle(new OurPromise(() => {})), { kind: "internal", message: /never settles/ });
  assert.throws(() => timers.settle(OurPromise.reject(new RangeError("far"))), RangeError);
  assert.equal(timers.settle(7), 7);
});

test("lines of console are lines of the log", () => {
  const host = new Host();
  ourConsole.log("read %d of %s: %j %%", 3, "rows", { a: [1] }, "more");
  ourConsole.warn({ deep: { deeper: { deepest: { bottom: { end: 1 } } } }, map: new Map([["k", new Set([1])]]), fn() {} });
  const circle = {};
  circle.self = circle;
  ourConsole.error(circle, null, undefined, -0.5, 1n, /a/, [1, "b"]);
  assert.deepEqual(
    host.log.map(({ level, message }) => `${level} ${message}`),
    [
      "info read 3 of rows: { a: [ 1 ] } % more",
      'warn { deep: { deeper: { deepest: { bottom: [Object] } } }, map: Map { "k" => Set { 1 } }, fn: [function fn] }',
      'error { self: [circular] } null undefined -0.5 1n /a/ [ 1, "b" ]',
    ],
  );
  assert.match(formatted([new TypeError("wrong")]), /^TypeError: wrong\n/);
  host.close();
  ourConsole.log("nobody hears");
});

test("random numbers come from the host", () => {
  let seed = 0;
  setSource((count) => Uint8Array.from({ length: count }, () => (seed = (seed * 31 + 7) % 251)));
  const drawn = Array.from({ length: 1000 }, random);
  assert.ok(drawn.every((value) => value >= 0 && value < 1));
  assert.ok(new Set(drawn).size > 990);
  const mean = drawn.reduce((sum, value) => sum + value, 0) / drawn.length;
  assert.ok(Math.abs(mean - 0.5) < 0.05, `mean ${mean}`);
  assert.match(ourCrypto.randomUUID(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(ourCrypto.getRandomValues(new Uint32Array(4)).some((value) => value !== 0));
  assert.throws(() => ourCrypto.getRandomValues(new Uint8Array(65_537)), RangeError);
});
