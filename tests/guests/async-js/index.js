// The table of asynchronous streams: `tests/vectors/async-streams.json` says what each method does.

import { Failure, asyncStreamHandler, call, config, kv } from "postern";

const text = (message) => new TextDecoder().decode(message);

/** The one message. */
async function only(request) {
  for await (const value of request.json()) return value;
  return undefined;
}

const METHODS = {
  Echo: (request) => request,

  async *Collect(request) {
    let sum = 0;
    let count = 0;
    for await (const { value } of request.json()) {
      sum += value;
      count++;
    }
    yield JSON.stringify({ sum, count });
  },

  async *Count(request) {
    const { to, then } = await only(request);
    call.addHeader("x-first", "1");
    for (let value = 1; value <= to; value++) yield JSON.stringify({ value });
    if (then !== undefined) throw new Failure(then, `ended after ${to}`);
    call.addTrailer("x-count", String(to));
  },

  async *Chat(request) {
    for await (const message of request) {
      const { text: said } = JSON.parse(text(message));
      if (said === "throw") throw new Error(said);
      yield JSON.stringify({ text: said.toUpperCase() });
    }
  },

  async *Fill(request) {
    const { pieces } = await only(request);
    const piece = new Uint8Array(65_536).fill(7);
    for (let n = 0; n < pieces; n++) yield piece;
  },

  async *Measure(request) {
    let octets = 0;
    for await (const piece of request) octets += piece.length;
    yield JSON.stringify({ octets });
  },

  async *Copy(request) {
    call.setStatus(201);
    call.addHeader("content-type", "application/octet-stream");
    call.setOctets();
    yield* request;
  },

  async *Spin() {
    yield "begun";
    for (;;);
  },

  /** Sends until the caller has left, and keeps that it was told. */
  async *Leave() {
    const piece = new Uint8Array(65_536);
    try {
      for (;;) yield piece;
    } finally {
      kv.set("left", "told");
    }
  },

  async *Left() {
    yield JSON.stringify({ value: kv.get("left") ?? null });
  },

  async *Setting(request) {
    const { key } = await only(request);
    yield JSON.stringify({ value: config.get(key) ?? null });
  },
};

asyncStreamHandler(async function* answer(service, method, request) {
  const run = METHODS[method];
  if (run === undefined) throw Failure.notFound(`no method \`${method}\``);
  yield* run(request);
});
