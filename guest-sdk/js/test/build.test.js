// What is written before componentize-qjs runs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Project } from "../build/project.mjs";
import { argumentsOf, outputNames, pathsOf } from "../build/unit-tests.mjs";
import { exportsOf, glueText, importsOf, readPackage, worldText } from "../build/world.mjs";
import { Service, method, schemaName, schemasOf, serverStream } from "../src/service.js";
import { t } from "../src/index.js";

const folder = () => mkdtempSync(join(tmpdir(), "postern-js-"));
const unary = (options = {}) => new Service({ name: "s", methods: { a: method(options, () => null) } });

test("roles are those that the project has", () => {
  const stream = new Service({ name: "s", methods: { a: serverStream({}, () => []) } });
  const made = { roles: { eventHandler() {}, requestInterceptor() {} }, services: [unary(), stream], schemas: [["Note", "{}"]] };
  assert.deepEqual(exportsOf(made, false), ["handler", "batch-handler", "stream-handler", "describe", "schemas", "event-handler", "request-interceptor", "health"]);
  assert.deepEqual(exportsOf({ roles: { balancer() {} }, services: [], schemas: [] }, true), ["balancer", "health"]);
  assert.throws(() => exportsOf({ roles: {}, services: [], schemas: [] }, true), /the project has no role/);
});

test("a service of JSON alone takes text where the package knows it", () => {
  const roles = (service, hasText) => exportsOf({ roles: {}, services: [service], schemas: [] }, hasText);
  assert.ok(roles(unary(), true).includes("text-handler"));
  assert.ok(!roles(unary(), true).includes("batch-handler"));
  assert.ok(roles(unary({ input: t.octets() }), true).includes("batch-handler"));
  assert.ok(roles(unary(), false).includes("handler"));
});

test("the world has the roles and their imports", () => {
  const imports = importsOf(["balancer", "health"], ["kv"]);
  assert.deepEqual(imports, ["call", "log", "config", "kv", "candidates"]);
  const text = worldText(["balancer", "health"], imports, "0.1.0");
  assert.match(text, /import postern:gateway\/kv@0\.1\.0;/);
  assert.match(text, /import postern:gateway\/candidates@0\.1\.0;/);
  assert.match(text, /export postern:gateway\/balancer@0\.1\.0;/);
  assert.deepEqual(exportsOf({ roles: { frameExtension() {} }, services: [], schemas: [] }, true), ["frame-extension", "health"]);
  assert.deepEqual(importsOf(["frame-extension"], []), ["call", "log", "config", "frame"]);
  assert.match(glueText(["balancer", "health"], imports, "0.1.0"), /export const balancer = linked\.balancer;/);
});

test("the package is found in whichever file it stands", () => {
  const wit = folder();
  assert.throws(() => readPackage(wit), /has no package postern:gateway/);
  writeFileSync(join(wit, "types.wit"), "/// Head.\npackage postern:gateway@0.1.0;\n");
  writeFileSync(join(wit, "handler.wit"), "package postern:gateway@0.1.0;\ninterface text-handler {\n}\n");
  assert.deepEqual(readPackage(wit), { version: "0.1.0", hasText: true });
});

test("the source is found by its name or where package.json says", () => {
  const project = folder();
  assert.throws(() => new Project(project, {}), /has none of src\/index\.ts/);
  writeFileSync(join(project, "index.js"), "");
  assert.equal(new Project(project, {}).entry, join(project, "index.js"));
  writeFileSync(join(project, "package.json"), '{ "postern": { "entry": "other.js" } }');
  assert.throws(() => new Project(project, {}), /other\.js is not there: package\.json names it/);
});

test("a tool that is not installed is named with what installs it", () => {
  const project = folder();
  writeFileSync(join(project, "index.js"), "");
  assert.throws(() => new Project(project, { tools: project }).tool("componentize-qjs"), /componentize-qjs is not installed: run `npm install`/);
});

test("types without a name are called after their method", () => {
  const service = new Service({ name: "s", methods: { put: method({ input: t.object({ a: t.string() }), output: t.object("Note", {}) }, () => ({})), all: serverStream({ output: t.octets() }, () => []) } });
  assert.deepEqual(schemasOf([service]).map(([name]) => name), ["PutRequest", "Note"]);
  assert.equal(schemaName(t.any(), "Put", true), "");
});

test("what follows the options of a test run is for the runner", () => {
  const own = ["folder", "--work", "w", "--tools", "t"];
  const parsed = { folder: "folder", values: { work: "w", tools: "t" } };
  assert.deepEqual(argumentsOf(own), { ...parsed, runner: [] });
  assert.deepEqual(argumentsOf([...own, "--test-name-pattern", "says", "--x"]), { ...parsed, runner: ["--test-name-pattern", "says", "--x"] });
  assert.deepEqual(argumentsOf([...own, "--", "--tools", "--"]), { ...parsed, runner: ["--tools", "--"] });
  assert.throws(() => argumentsOf(["--tools", "t"]), /usage: test\.mjs PROJECT/);
});

test("each unit test has a bundle of its own, which node finds only when it is told", () => {
  const tests = ["x.test.js", "x.test.ts", "a-b.test.js", "a/b.test.js"].map((path) => join("/project", path));
  const names = outputNames("/project", tests);
  assert.equal(new Set(names).size, tests.length);
  const project = folder();
  mkdirSync(join(project, ".postern", "build", "tests"), { recursive: true });
  for (const name of names) writeFileSync(join(project, ".postern", "build", "tests", name), "throw new Error('found');\n");
  writeFileSync(join(project, "own.test.js"), "");
  const { NODE_TEST_CONTEXT, ...environment } = process.env;
  const run = spawnSync(process.execPath, ["--test"], { cwd: project, encoding: "utf8", env: environment });
  assert.equal(run.status, 0, run.stdout);
  assert.match(run.stdout, /tests 1\n/);
});

test("the paths of a project stay beside those of the SDK", () => {
  const own = { postern: ["/sdk/index.d.ts"] };
  assert.deepEqual(pathsOf({}, own), own);
  assert.deepEqual(pathsOf({ paths: { "@/*": ["src/*"], postern: ["copy"] }, pathsBasePath: "/project" }, own), { "@/*": ["/project/src/*"], ...own });
  assert.deepEqual(pathsOf({ paths: { "@/*": ["*"] }, baseUrl: "/project/src", pathsBasePath: "/project" }, own), { "@/*": ["/project/src/*"], ...own });
});
