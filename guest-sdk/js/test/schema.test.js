// Types: values that they read, faults that they name, schemas that they give.

import assert from "node:assert/strict";
import { test } from "node:test";

import { t } from "../src/index.js";

const Tree = t.lazy("Tree", () => t.object("Tree", { name: t.string(), children: t.array(Tree).default([]) }));

const READ = [
  [t.string({ min: 1, max: 3, pattern: "^a" }), "abc", "abc"],
  [t.string({ max: 2 }), "😀é", "😀é"],
  [t.integer({ min: 0 }), 3, 3],
  [t.number(), 1.5, 1.5],
  [t.null(), undefined, null],
  [t.null(), {}, null],
  [t.any(), { a: [1] }, { a: [1] }],
  [t.string().nullable(), null, null],
  [t.union(t.integer(), t.string()), "a", "a"],
  [t.oneOf("a", 1), 1, 1],
  [t.record(t.integer()), { a: 1 }, { a: 1 }],
  [t.object({ a: t.integer().optional(), b: t.string().default("x") }), { c: 1 }, { b: "x" }],
  [t.object({ a: t.integer().optional() }), null, {}],
  [Tree, { name: "a", children: [{ name: "b" }] }, { name: "a", children: [{ name: "b", children: [] }] }],
];
for (const [type, value, expected] of READ) {
  test(`${type.name} reads ${JSON.stringify(value)}`, () => assert.deepEqual(type.parse(value), expected));
}

const REFUSED = [
  [t.string(), null, "expected a string, found null"],
  [t.string({ max: 2 }), "abc", "length 3 exceeds the limit of 2"],
  [t.string({ pattern: "^a" }), "b", '"b" does not match ^a'],
  [t.integer(), 1.5, "expected an integer, found 1.5"],
  [t.integer(), 2 ** 53, "expected an integer, found 9007199254740992"],
  [t.integer({ min: 2 }), 1, "value 1 is less than 2"],
  [t.number(), "1", "expected a number, found a string"],
  [t.boolean(), 0, "expected a boolean, found a number"],
  [t.array(t.integer(), { min: 1 }), [], "length 0 is less than 1"],
  [t.oneOf("a", 1), "1", '"1" is none of "a", 1'],
  [t.union(t.integer(), t.string()), [], "expected one of integer, string, found a list"],
  [t.union(t.integer(), t.object({ a: t.integer() })), { a: "x" }, "`a`: expected an integer, found a string"],
  [t.object({ u: t.union(t.array(t.integer()), t.string()) }), { u: [1, "x"] }, "`u[1]`: expected an integer, found a string"],
  [
    t.union(t.object("Hello", { room: t.string() }), t.object("Said", { text: t.string({ max: 2 }) })),
    { text: "abc" },
    "expected one of Hello, Said, found an object; Hello: field `room` is missing; Said: `text`: length 3 exceeds the limit of 2",
  ],
  [t.string({ max: 2 }), "😀😀😀", "length 3 exceeds the limit of 2"],
  [t.string({ min: 2 }), "😀", "length 1 is less than 2"],
  [t.string().nullable(), 1, "expected a string, found a number"],
  [t.record(t.integer()), { a: "b" }, "`a`: expected an integer, found a string"],
  [t.object({ a: t.object({ b: t.array(t.integer()) }) }), { a: { b: [1, "x"] } }, "`a.b[1]`: expected an integer, found a string"],
  [t.object({ toString: t.integer() }), {}, "field `toString` is missing"],
  [Tree, { name: "a", children: [{}] }, "`children[0]`: field `name` is missing"],
];
for (const [type, value, message] of REFUSED) {
  test(`${type.name} refuses ${JSON.stringify(value)}`, () => assert.throws(() => type.parse(value), { kind: "invalid-argument", message }));
}

test("schemas refer to types by their names", () => {
  const schema = t.object("Note", { key: t.string({ min: 1 }).describe("Its key."), tree: Tree, size: t.integer().default(3) }).toSchema();
  assert.equal(schema.title, "Note");
  assert.deepEqual(schema.required, ["key", "tree"]);
  assert.deepEqual(schema.properties.key, { type: "string", minLength: 1, description: "Its key." });
  assert.deepEqual(schema.properties.size, { type: "integer", default: 3 });
  assert.deepEqual(schema.properties.tree, { $ref: "#/$defs/Tree" });
  assert.deepEqual(schema.$defs.Tree.properties.children.items, { $ref: "#/$defs/Tree" });
});

test("a default is not shared between messages", () => {
  const type = t.object({ list: t.array(t.any()).default([{ a: [] }]) });
  const first = type.parse({});
  first.list[0].a.push(1);
  first.list.push(2);
  assert.deepEqual(type.parse({}), { list: [{ a: [] }] });
});
