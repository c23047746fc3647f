import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Host } from "postern/testing";

import { chat } from "./index.ts";
import { LINES_MAX, ROOMS_MAX } from "./room.ts";

const HELLO = { room: "tea", name: "Ada" };
let host: Host;

beforeEach(() => {
  host = new Host();
  host.topic("chat.tea", 3);
});

const said = () => host.published.map(({ payload }) => JSON.parse(new TextDecoder().decode(payload)));
const history = async (limit?: number) => (await host.call(chat, "History", { room: "tea", limit })).lines;

test("who joins gets what was said, and each line is taken", async () => {
  await host.stream(chat, "Join", [HELLO, { text: "hello" }]);
  const replies = await host.stream(chat, "Join", [{ ...HELLO, name: "Bob" }, { text: "hi" }, { text: "how are you?" }]);
  assert.equal(replies[0].type, "joined");
  assert.deepEqual(replies[0].history.map(({ id, name, text }: any) => [id, name, text]), [[1, "Ada", "hello"]]);
  assert.deepEqual(replies.slice(1), [
    { type: "taken", id: 2, readers: 3 },
    { type: "taken", id: 3, readers: 3 },
  ]);
  assert.deepEqual((await history()).map(({ text }: any) => text), ["hello", "hi", "how are you?"]);
});

test("others are told who came, what was said and who left", async () => {
  await host.stream(chat, "Join", [HELLO, { text: "hello" }]);
  assert.deepEqual(said().map(({ type, name, text }) => [type, name, text]), [
    ["joined", "Ada", ""],
    ["said", "Ada", "hello"],
    ["left", "Ada", ""],
  ]);
});

test("a caller that is known has its own name", async () => {
  host.context({ principal: { name: "eve", roles: [] } });
  await host.stream(chat, "Join", [HELLO]);
  assert.equal(said()[0].name, "eve");
});

test("who leaves in the middle is told of, too", async () => {
  await assert.rejects(host.leaveAfter(1).stream(chat, "Join", [HELLO, { text: "hello" }]), { kind: "cancelled" });
  assert.equal(said().at(-1).type, "left");
});

test("the last lines are kept", async () => {
  const texts = Array.from({ length: LINES_MAX + 5 }, (_, index) => ({ text: `line ${index + 1}` }));
  await host.stream(chat, "Join", [HELLO, ...texts]);
  assert.equal(host.kv.size, LINES_MAX + 1);
  const kept = await history(LINES_MAX);
  assert.deepEqual([kept[0].text, kept.at(-1).text], ["line 6", "line 105"]);
  assert.equal((await history()).length, 20);
});

test("there is an end to the number of rooms", async () => {
  const last = new TextEncoder().encode("1");
  for (let index = 1; index < ROOMS_MAX; index++) host.kv.set(`last/room-${index}`, last);
  await host.stream(chat, "Join", [HELLO, { text: "one more" }]);
  host.topic("chat.new", 1);
  await assert.rejects(host.stream(chat, "Join", [{ ...HELLO, room: "new" }, { text: "one too many" }]), { kind: "resource-exhausted" });
  assert.ok(!host.kv.has("last/new"));
  await host.stream(chat, "Join", [HELLO, { text: "in a room that exists" }]);
  assert.equal((await history()).length, 2);
});

for (const [name, messages, kind] of [
  ["a line before a room", [{ text: "hello" }], "failed-precondition"],
  ["a second room", [HELLO, { ...HELLO, room: "tea" }], "failed-precondition"],
  ["a room with a slash", [{ room: "a/b", name: "Ada" }], "invalid-argument"],
  ["a name of 41 characters", [{ room: "tea", name: "n".repeat(41) }], "invalid-argument"],
  ["an empty line", [HELLO, { text: "" }], "invalid-argument"],
  ["a line of 1001 characters", [HELLO, { text: "x".repeat(1001) }], "invalid-argument"],
] as const) {
  test(`${name} is refused`, async () => {
    await assert.rejects(host.stream(chat, "Join", messages), { kind });
  });
}
