// What the clients of Connect see of the samples `users` and `user-chat`, over each of the protocols that they speak.
//
// Called with the folder of the packages, the base URL, and the set of descriptors. Prints the name of each case and
// `ok`, or what is wrong.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, baseUrl, descriptors] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { createFileRegistry, fromBinary } = require("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = require("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = require("@connectrpc/connect");
const { createConnectTransport, createGrpcTransport, createGrpcWebTransport } = require("@connectrpc/connect-node");

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const service = (name) => registry.getService(name);

const transports = {
  "gRPC": createGrpcTransport({ baseUrl }),
  "gRPC, gzip": createGrpcTransport({ baseUrl, compressMinBytes: 0, sendCompression: require("@connectrpc/connect-node").compressionGzip }),
  "gRPC-Web over HTTP/2": createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "gRPC-Web over HTTP/1.1": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect over HTTP/2": createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
  "Connect over HTTP/1.1": createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: true }),
  "Connect in JSON": createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false }),
  "Connect by GET": createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
};
// HTTP/1.1 and gRPC-Web know no request that goes on while the answer comes.
const isDuplex = (name) => name.startsWith("gRPC") && !name.startsWith("gRPC-Web") || name === "Connect over HTTP/2" || name === "Connect in JSON";

let n_created = 0;
const create = (users, name) =>
  users.createUser({ name, email: `${name}-${process.pid}-${n_created++}@example.org` });

function check(claim, found, expected) {
  const [one, other] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${claim}: ${one}, not ${other}`);
}

async function failure(call) {
  try {
    await call();
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("the call has not failed");
}

async function unary({ users, interop }) {
  let head, trailer;
  const user = await create(users, "Ada");
  const found = await users.getUser({ id: user.id });
  check("found", found.email, user.email);
  const error = await failure(() => users.getUser({ id: "nobody" }));
  check("error", [error.code, error.rawMessage], [Code.NotFound, "no user has id `nobody`"]);
  await interop.unaryCall({ responseSize: 3 }, {
    headers: { "x-grpc-test-echo-initial": "first", "x-grpc-test-echo-trailing-bin": "q80" },
    onHeader: (headers) => { head = headers; },
    onTrailer: (trailers) => { trailer = trailers; },
  });
  check("initial", head.get("x-grpc-test-echo-initial"), "first");
  check("trailing", trailer.get("x-grpc-test-echo-trailing-bin")?.replace(/=+$/, ""), "q80");
  const unknown = await failure(() => interop.unaryCall({ responseStatus: { code: 8, message: "told ☺" } }));
  check("message", [unknown.code, unknown.rawMessage], [Code.ResourceExhausted, "told ☺"]);
}

async function serverStreaming({ users }) {
  for (const name of ["Ada", "Eve", "Joe"]) await create(users, name);
  const times = [];
  for await (const { user } of users.listUsersStream({})) {
    if (!user?.id) throw new Error("no user");
    times.push(performance.now());
  }
  const apart = times.at(-1) - times[0];
  if (apart < 16 * (times.length - 1)) throw new Error(`${times.length} users in ${apart} ms`);
}

async function clientStreaming({ users }) {
  async function* requests() {
    for (let n = 0; n < 3; n++) yield { name: `U${n}`, email: `u${process.pid}-${n_created++}@example.org` };
  }
  const { users: created } = await users.createUsers(requests());
  check("created", created.map(({ name }) => name), ["U0", "U1", "U2"]);
}

// Each message is sent once the one before has been answered.
async function bidirectional({ chat }) {
  let answered;
  const next = () => new Promise((resolve) => { answered = resolve; });
  async function* messages() {
    for (let n = 1; n <= 5; n++) {
      const wait = next();
      yield { userId: "1", text: `line ${n}` };
      await wait;
    }
  }
  const numbers = [];
  for await (const reply of chat.chat(messages())) {
    numbers.push(Number(reply.number));
    answered();
  }
  check("numbers", numbers, [1, 2, 3, 4, 5]);
}

async function deadline({ interop }) {
  const begin = performance.now();
  const request = { responseParameters: [{ intervalUs: 10_000_000 }] };
  const error = await failure(async () => {
    for await (const _ of interop.streamingOutputCall(request, { timeoutMs: 500 }));
  });
  check("code", error.code, Code.DeadlineExceeded);
  check("in time", performance.now() - begin < 8000, true);
}

async function cancellation({ users }) {
  const abort = new AbortController();
  const error = await failure(async () => {
    for await (const _ of users.listUsersStream({}, { signal: abort.signal })) abort.abort();
  });
  check("code", error.code, Code.Canceled);
}

async function cacheable({ interop }) {
  let head;
  await interop.cacheableUnaryCall({}, { onHeader: (headers) => { head = headers; } });
  check("cache-control", head.get("cache-control"), "max-age=60, public");
}

for (const [name, transport] of Object.entries(transports)) {
  const clients = {
    users: createClient(service("user.UserService"), transport),
    chat: createClient(service("user.ChatService"), transport),
    interop: createClient(service("grpc.testing.TestService"), transport),
  };
  const cases = [unary, serverStreaming, deadline, cancellation, cacheable];
  if (isDuplex(name)) cases.push(clientStreaming, bidirectional);
  for (const one of cases) {
    let outcome = "ok";
    try {
      await one(clients);
    } catch (error) {
      outcome = `${error}`.replace(/\s+/g, " ");
    }
    console.log(`${name}, ${one.name}: ${outcome}`);
  }
}
process.exit(0);
