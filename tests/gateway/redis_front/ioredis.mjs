// Commands by ioredis: ioredis.mjs PORT. Prints `case: ok`, or what was wrong.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { once } from "node:events";

const require = createRequire(`${process.env.NODE_FOLDER}/node_modules/`);
const Redis = require("ioredis");
const port = Number(process.argv[2]);
const open = (options = {}) => new Redis({ port, maxRetriesPerRequest: 2, ...options });
const cases = {};

cases.strings = async (redis) => {
  assert.equal(await redis.set("io", "1", "EX", 100), "OK");
  assert.equal(await redis.get("io"), "1");
  assert.equal(await redis.ttl("io"), 100);
  assert.equal(await redis.incrby("io", 4), 5);
  assert.deepEqual(await redis.mget("io", "nothing"), ["5", null]);
  assert.equal(await redis.set("io", "2", "NX"), null);
  assert.deepEqual(await redis.getBuffer("io"), Buffer.from("5"));
  assert.equal(await redis.del("io"), 1);
};

cases.pipelines = async (redis) => {
  const pipeline = redis.pipeline();
  for (let number = 0; number < 10_000; number += 1) pipeline.echo(`${number}`);
  const answers = await pipeline.exec();
  assert.deepEqual(answers.map(([, answer]) => answer), answers.map((_, number) => `${number}`));
  await assert.rejects(redis.multi().set("a", "b").exec(), /is not possible|aborted/);
};

cases.scanning = async (redis) => {
  await redis.mset(Object.fromEntries([...Array(50).keys()].map((number) => [`ioscan-${number}`, "x"])));
  const found = new Set();
  for await (const keys of redis.scanStream({ match: "ioscan-*", count: 7 })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 50);
};

cases.channels = async (redis) => {
  const subscriber = open();
  assert.equal(await subscriber.subscribe("io.news", "io.other"), 2);
  assert.equal(await subscriber.psubscribe("io.n*"), 3);
  const message = once(subscriber, "message");
  const pmessage = once(subscriber, "pmessage");
  assert.equal(await redis.publish("io.news", "hello"), 2);
  assert.deepEqual(await message, ["io.news", "hello"]);
  assert.deepEqual(await pmessage, ["io.n*", "io.news", "hello"]);
  assert.equal(await subscriber.unsubscribe("io.news"), 2);
  subscriber.disconnect();
};

cases.streams = async (redis) => {
  const id = await redis.xadd("orders.io", "*", "a", "1");
  assert.deepEqual(await redis.xrange("orders.io", id, "+"), [[id, ["a", "1"]]]);
  await redis.xgroup("CREATE", "orders.io", "g", 0);
  const read = await redis.xreadgroup("GROUP", "g", "c", "COUNT", 10, "STREAMS", "orders.io", ">");
  assert.deepEqual(read, [["orders.io", [[id, ["a", "1"]]]]]);
  assert.equal(await redis.xack("orders.io", "g", id), 1);
};

cases.calls = async (redis) => {
  assert.equal(await redis.call("CALL", "echo/echo", "{}"), "{}");
  await assert.rejects(redis.call("CALL", "nobody/x", "{}"), /NOT_FOUND/);
  await assert.rejects(redis.call("FOO", "x"), /unknown command 'FOO'/);
};

const redis = open();
for (const [name, run] of Object.entries(cases)) {
  try {
    await run(redis);
    console.log(`${name}: ok`);
  } catch (error) {
    console.log(`${name}: ${String(error.stack ?? error).replaceAll("\n", " ")}`);
  }
}
redis.disconnect();
