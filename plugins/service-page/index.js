// A component of `wasi:http`, as every host of it takes it: nothing here is of this gateway.

import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.6";

import { answer } from "./answer.js";

/** Octets that a host takes in one write that waits. */
const WRITE_BYTES_MAX = 4096;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const incomingHandler = {
  handle(request, out) {
    const headers = request.headers();
    const asked = { method: request.method().tag, target: request.pathWithQuery() ?? "/", etag: first(headers, "if-none-match") };
    const { status, fields, body } = answer(asked);
    const response = new OutgoingResponse(Fields.fromList(Object.entries(fields).map(([name, value]) => [name, encoder.encode(value)])));
    response.setStatusCode(status);
    const outgoing = response.body();
    ResponseOutparam.set(out, { tag: "ok", val: response });
    write(outgoing, encoder.encode(body));
    OutgoingBody.finish(outgoing, null);
  },
};

function first(headers, name) {
  const [value] = headers.get(name);
  return value && decoder.decode(value);
}

function write(outgoing, octets) {
  const stream = outgoing.write();
  try {
    for (let at = 0; at < octets.length; at += WRITE_BYTES_MAX) stream.blockingWriteAndFlush(octets.subarray(at, at + WRITE_BYTES_MAX));
  } finally {
    // The body is not finished while its stream is there.
    stream[Symbol.dispose]();
  }
}
