// What clients of grpc-js see of the samples `users` and `user-chat`.
//
// Called with the folder of the packages, the address, the file of the authority or an empty text, and the folders of
// the schemas. Prints the name of each case and `ok`, or what is wrong.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, address, authority, ...schemas] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const definition = loadSync(["user.proto", "chat.proto", "grpc/testing/test.proto"], {
  includeDirs: schemas,
  longs: Number,
});
const { user, grpc: { testing } } = grpc.loadPackageDefinition(definition);
const credentials = authority
  ? grpc.credentials.createSsl(readFileSync(authority))
  : grpc.credentials.createInsecure();
const users = new user.UserService(address, credentials);
const chat = new user.ChatService(address, credentials);
const interop = new testing.TestService(address, credentials);

let n_created = 0;

function check(claim, found, expected) {
  const [one, other] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${claim}: ${one}, not ${other}`);
}

const call = (client, method, request, ...more) =>
  new Promise((resolve, reject) =>
    client[method](request, ...more, (error, reply) => (error ? reject(error) : resolve(reply))));

const create = (name) =>
  call(users, "CreateUser", { name, email: `${name}-js-${process.pid}-${n_created++}@example.org` });

const failure = async (call) => {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("the call has not failed");
};

async function unary() {
  const { id, email } = await create("Ada");
  check("found", (await call(users, "GetUser", { id })).email, email);
  const error = await failure(() => call(users, "GetUser", { id: "nobody" }));
  check("error", [error.code, error.details], [grpc.status.NOT_FOUND, "no user has id `nobody`"]);
  const unknown = await failure(() => call(interop, "UnaryCall", { responseStatus: { code: 2, message: "\ttold ☺" } }));
  check("message", [unknown.code, unknown.details], [grpc.status.UNKNOWN, "\ttold ☺"]);
}

async function metadata() {
  const sent = new grpc.Metadata();
  sent.set("x-grpc-test-echo-initial", "first");
  sent.set("x-grpc-test-echo-trailing-bin", Buffer.from([0xab, 0xcd]));
  const [initial, status] = await new Promise((resolve, reject) => {
    let initial;
    const one = interop.UnaryCall({}, sent, (error) => error && reject(error));
    one.on("metadata", (metadata) => { initial = metadata; });
    one.on("status", (status) => resolve([initial, status]));
  });
  check("initial", initial.get("x-grpc-test-echo-initial"), ["first"]);
  check("trailing", status.metadata.get("x-grpc-test-echo-trailing-bin")[0]?.toString("hex"), "abcd");
}

async function serverStreaming() {
  for (const name of ["Ada", "Eve", "Joe"]) await create(name);
  const times = [];
  for await (const { user } of users.ListUsersStream({})) {
    if (!user?.id) throw new Error("no user");
    times.push(performance.now());
  }
  const apart = times.at(-1) - times[0];
  if (apart < 16 * (times.length - 1)) throw new Error(`${times.length} users in ${apart} ms`);
}

async function clientStreaming() {
  const reply = await new Promise((resolve, reject) => {
    const stream = users.CreateUsers((error, reply) => (error ? reject(error) : resolve(reply)));
    for (let n = 0; n < 3; n++) {
      stream.write({ name: `U${n}`, email: `u-js-${process.pid}-${n_created++}@example.org` });
    }
    stream.end();
  });
  check("created", reply.users.map(({ name }) => name), ["U0", "U1", "U2"]);
}

async function bidirectional() {
  const stream = chat.Chat();
  const numbers = [];
  stream.write({ userId: "1", text: "line 1" });
  for await (const { number } of stream) {
    numbers.push(number);
    if (number < 5) stream.write({ userId: "1", text: `line ${number + 1}` });
    else stream.end();
  }
  check("numbers", numbers, [1, 2, 3, 4, 5]);
}

async function deadline() {
  const begin = performance.now();
  const request = { responseParameters: [{ intervalUs: 10_000_000 }] };
  const error = await failure(async () => {
    for await (const _ of interop.StreamingOutputCall(request, { deadline: Date.now() + 500 }));
  });
  check("code", error.code, grpc.status.DEADLINE_EXCEEDED);
  check("in time", performance.now() - begin < 8000, true);
}

async function cancellation() {
  for (const name of ["Ada", "Eve"]) await create(name);
  const stream = users.ListUsersStream({});
  const error = await failure(async () => {
    for await (const _ of stream) stream.cancel();
  });
  check("code", error.code, grpc.status.CANCELLED);
}

async function compression() {
  const options = { "grpc.default_compression_algorithm": 2 };
  const client = new user.UserService(address, credentials, options);
  const { name } = await call(client, "CreateUser", { name: "x".repeat(100), email: `x-${process.pid}-${n_created++}@example.org` });
  check("name", name.length, 100);
}

for (const one of [
  unary,
  metadata,
  serverStreaming,
  clientStreaming,
  bidirectional,
  deadline,
  cancellation,
  compression,
]) {
  let outcome = "ok";
  try {
    await one();
  } catch (error) {
    outcome = `${error}`.replace(/\s+/g, " ");
  }
  console.log(`${one.name}: ${outcome}`);
}
process.exit(0);
