// The examples of README.md in JavaScript are run as they stand there.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const SDK = fileURLToPath(new URL("..", import.meta.url));
const blocks = [...readFileSync(join(SDK, "README.md"), "utf8").matchAll(/```(ts|js)\n([^]*?)```/g)].map(([, , code]) => code);

/** Annotations of types, as far as the example has them. */
function withoutTypes(code) {
  return code.replace(/^import type .*\n/m, "").replace(/: string\): Promise<.*?>> \{/, ") {").replace("Note)!;", "Note);");
}

test("the examples do what is said of them", async () => {
  const folder = mkdtempSync(join(tmpdir(), "postern-readme-"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(SDK, join(folder, "node_modules", "postern"));
  const [service, roles, unitTest] = blocks;
  const source = [
    'import assert from "node:assert/strict";',
    'import { balancer, eventHandler, frameExtension, log, reply, requestInterceptor, responseInterceptor } from "postern";',
    withoutTypes(service),
    roles,
    unitTest.replace('test("a note is found again", ', "export const run = (").replace(/\);\n$/, ");\n"),
    "export { Host };",
  ].join("\n");
  writeFileSync(join(folder, "readme.mjs"), source);
  const { run, Host } = await import(pathToFileURL(join(folder, "readme.mjs")));
  await run();
  const host = new Host();
  await host.event("orders.new", {});
  assert.equal(new TextDecoder().decode(host.kv.get("orders.new")), "1");
  const exchange = host.exchange("users", "Get");
  assert.equal(await exchange.onRequest(), false);
  assert.deepEqual(exchange.headers, { "x-mark": "edge" });
  await exchange.onResponse({ reply: {}, elapsed: 5 });
  assert.equal(host.log.at(-1).fields.ms, "5");
  assert.equal(host.balancing([{ id: "a" }, { id: "b" }]).pick(1, { unusable: [1] }), 0);
  assert.equal(await host.frame({ headers: { "x-debug": "1" } }).enter(), "drop");
  assert.equal(await host.frame({ direction: "outbound", headers: { "x-debug": "1" } }).enter(), "pass");
  rmSync(folder, { recursive: true });
});
