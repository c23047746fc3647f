// Components of `wasi:http`: what is written before componentize-qjs runs, and the handler around the project's.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { HTTP_GLUE, isHttp, withStandIns, withoutStandIns, writeHttpWorld } from "../build/http.mjs";
import { handlerOf } from "../src/http.js";
import { console as ours } from "../src/runtime/console.js";

test("a project says what it exports, and one that no build knows is refused", () => {
  assert.equal(isHttp({}), false);
  assert.equal(isHttp({ postern: { entry: "a.js" } }), false);
  assert.equal(isHttp({ postern: { exports: "wasi:http/incoming-handler" } }), true);
  assert.throws(() => isHttp({ postern: { exports: "wasi:http/proxy" } }), /"wasi:http\/proxy" \}: it may be "wasi:http\/incoming-handler"/);
});

test("imports have the stand-in's name of whichever version of 0.2, and nothing else has", () => {
  const source = `import { a } from "wasi:http/types@0.2.0"; import b from 'wasi:io/streams'; import "wasi:random/random@0.2.12"; const c = "wasi:http is text"; import "wasi:http/types@0.3.0";`;
  const changed = withStandIns(source);
  assert.equal(changed, `import { a } from "wasj:http/types@0.2.6"; import b from 'wasj:io/streams@0.2.6'; import "wasi:random/random@0.2.12"; const c = "wasi:http is text"; import "wasi:http/types@0.3.0";`);
  const component = withoutStandIns(Buffer.from("\0wasj:http/types\x01wasj:io/poll", "latin1"));
  assert.equal(component.toString("latin1"), "\0wasi:http/types\x01wasi:io/poll");
});

test("the world exports the handler, and its packages keep no name of WASI that the engine's host has", () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-http-"));
  writeHttpWorld(folder);
  assert.match(readFileSync(join(folder, "world.wit"), "utf8"), /export wasj:http\/incoming-handler@0\.2\.6;/);
  assert.deepEqual(readdirSync(join(folder, "deps")).sort(), ["cli", "clocks", "http-http", "http-io", "io", "random"]);
  const http = readFileSync(join(folder, "deps", "http-http", "http.wit"), "utf8");
  assert.match(http, /package wasj:http@0\.2\.6;/);
  assert.doesNotMatch(http, /wasi:io/);
  assert.ok(HTTP_GLUE.startsWith('import "postern/globals";\nimport * as project from "project";\n'));
});

/** The modules that a component gives, and what came of them. */
function modules() {
  const printed = [];
  const stream = { blockingWriteAndFlush: (octets) => printed.push(octets), [Symbol.dispose]: () => printed.push("closed") };
  const text = () => new TextDecoder().decode(Buffer.concat(printed.filter((each) => each !== "closed")));
  return { printed, text, modules: { random: {}, monotonicClock: {}, stderr: { getStderr: () => stream } } };
}

test("a request is handed over, and one that throws costs itself alone", () => {
  const { printed, text, modules: made } = modules();
  const seen = [];
  let dropped = 0;
  const out = { [Symbol.dispose]: () => dropped++ };
  const handler = handlerOf(
    {
      incomingHandler: {
        handle(request, given) {
          seen.push([request, given === out]);
          if (request === "bad") throw new TypeError(`loose${" ".repeat(5000)}end`);
        },
      },
    },
    made,
  );
  const before = globalThis.console;
  globalThis.console = ours;
  try {
    for (const request of ["first", "bad", "last"]) handler.handle(request, out);
  } finally {
    globalThis.console = before;
  }
  assert.deepEqual(seen, [["first", true], ["bad", true], ["last", true]]);
  assert.equal(dropped, 1);
  assert.match(text(), /^error: TypeError: loose\s+end/);
  assert.ok(printed.every((each) => each === "closed" || each.length <= 4096), "a host takes no more in one write");
  assert.equal(printed.at(-1), "closed");
});

test("a project without the handler is none", () => {
  assert.throws(() => handlerOf({}, modules().modules), /the project exports no `incomingHandler`/);
  assert.throws(() => handlerOf({ incomingHandler: {} }, modules().modules), /with a function `handle`/);
});
