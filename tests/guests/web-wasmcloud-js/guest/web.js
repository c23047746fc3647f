// A component that exports `wasi:http/incoming-handler` itself. The last segment of the path says what it does.

import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from "wasi:http/types@0.2.10";

// What one write of `wasi:io` takes.
const PIECE_BYTES = 4096;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const incomingHandler = {
  handle(request, out) {
    const path = request.pathWithQuery().split("?")[0];
    switch (path.split("/").at(-1)) {
      case "facts":
        return end(begin(out, 200, { "content-type": "text/plain" }), facts(request));
      case "echo":
        return echo(request, begin(out, 200, { "content-type": "application/octet-stream" }));
      case "status":
        return end(begin(out, 418, { "x-b": ["1", "3"], "x-a": "2" }), "short and stout");
      case "trap":
        throw new Error("no page of that name");
      default:
        return end(begin(out, 404, {}), "nothing here");
    }
  },
};

function facts(request) {
  const { tag, val } = request.method();
  const lines = [`${val ?? tag.toUpperCase()} ${request.pathWithQuery()}`];
  for (const [name, value] of request.headers().entries()) lines.push(`${name}: ${decoder.decode(value)}`);
  return lines.join("\n");
}

function begin(out, status, headers) {
  const list = Object.entries(headers).flatMap(([name, values]) => [values].flat().map((value) => [name, encoder.encode(value)]));
  const response = new OutgoingResponse(Fields.fromList(list));
  response.setStatusCode(status);
  const body = response.body();
  ResponseOutparam.set(out, { tag: "ok", val: response });
  return body;
}

function end(body, text) {
  const stream = body.write();
  write(stream, encoder.encode(text));
  stream[Symbol.dispose]();
  OutgoingBody.finish(body, undefined);
}

function write(stream, octets) {
  for (let begin = 0; begin < octets.length; begin += PIECE_BYTES) {
    stream.blockingWriteAndFlush(octets.subarray(begin, begin + PIECE_BYTES));
  }
}

// Gives each piece of the request as it comes.
function echo(request, body) {
  const incoming = request.consume();
  const from = incoming.stream();
  const to = body.write();
  for (let octets = read(from); octets; octets = read(from)) write(to, octets);
  from[Symbol.dispose]();
  incoming[Symbol.dispose]();
  to[Symbol.dispose]();
  OutgoingBody.finish(body, undefined);
}

// What has come; nothing at the end.
function read(from) {
  try {
    return from.blockingRead(65536n);
  } catch (error) {
    if (error.payload?.tag === "closed") return undefined;
    throw error;
  }
}
