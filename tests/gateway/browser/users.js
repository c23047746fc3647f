// A page that calls `user.UserService` of a gateway of another origin by the published clients for browsers, and tells
// what it has seen.

import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { api, run } from "./tell.js";

async function service(name) {
  const response = await fetch("/schema/descriptors.binpb");
  const set = fromBinary(FileDescriptorSetSchema, new Uint8Array(await response.arrayBuffer()));
  return createFileRegistry(set).getService(name);
}

// Creates three users and reads them from a stream, each when it comes.
async function seen(users, transport) {
  const names = ["Ada", "Eve", "Joe"];
  const created = [];
  for (const name of names) {
    const user = await users.createUser({ name, email: `${name}@${transport}.example` });
    created.push(user.id);
  }
  const streamed = [], times = [];
  for await (const { user } of users.listUsersStream({})) {
    if (created.includes(user.id)) streamed.push(user.name);
    times.push(performance.now());
  }
  const one = await users.getUser({ id: created[0] });
  let failure;
  try {
    await users.getUser({ id: "nobody" });
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    failure = { code, rawMessage };
  }
  // What the stream pauses for between users.
  const isGathered = times.at(-1) - times[0] < 16 * (times.length - 1);
  return { streamed, isGathered, email: one.email, failure };
}

await run("users", async () => {
  const description = await service("user.UserService");
  const baseUrl = `https://${api}`;
  const transports = {
    "grpc-web": createGrpcWebTransport({ baseUrl }),
    "connect": createConnectTransport({ baseUrl }),
    "connect-octets": createConnectTransport({ baseUrl, useBinaryFormat: true }),
  };
  const finding = {};
  for (const [name, transport] of Object.entries(transports)) {
    finding[name] = await seen(createClient(description, transport), name);
  }
  return finding;
});
