// The calls of tests/vectors/guests.json in TypeScript, every method with its types.

import { Failure, bidirectional, call, client, clientStream, config, eventHandler, events, kv, log, method, serverStream, service, t } from "postern";
import type { Incoming, Infer, Kind } from "postern";

const Numbers = t.object("Numbers", { values: t.array(t.integer()) });
const Sum = t.object("Sum", { sum: t.integer(), count: t.integer() });
const NumberMessage = t.object("Number", { value: t.integer() });
const Key = t.object("Key", { key: t.string() });
const Found = t.object("Found", { value: t.string().nullable() });
const Line = t.object("Line", { text: t.string() });
const Refusal = t.object("Refusal", { kind: t.string(), message: t.string(), details: t.any().optional() });
const decoder = new TextDecoder();

function sumOf(values: number[]): Infer<typeof Sum> {
  return { sum: values.reduce((sum, value) => sum + value, 0), count: values.length };
}

async function* answered(lines: Incoming<Infer<typeof Line>>): AsyncGenerator<Infer<typeof Line>> {
  for await (const { text } of lines) {
    if (text === "throw") throw new Error("throw");
    yield { text: text.toUpperCase() };
  }
  log.debug("the lines have ended");
}

export const table = service({
  name: "table-ts",
  version: "0.1.0",
  summary: "Answers the table of calls.",
  methods: {
    echo: method({ input: t.octets(), output: t.octets(), idempotent: true, summary: "Gives back what it got." }, (body) => body),
    sum: method({ input: Numbers, output: Sum, summary: "Adds numbers." }, ({ values }) => sumOf(values)),
    fail: method({ input: Refusal, output: t.null() }, ({ kind, message, details }) => {
      throw new Failure(kind as Kind, message, details);
    }),
    throw: method({ input: t.object({ message: t.string() }) }, async ({ message }) => {
      await null;
      throw new Error(message);
    }),
    header: method({ input: t.object({ name: t.string() }), output: Found }, ({ name }) => {
      const value = call.header(name);
      if (value !== undefined) call.addHeader("x-out", value);
      return { value: value ?? null };
    }),
    setting: method({ input: Key, output: Found }, ({ key }) => ({ value: config.get(key) ?? null })),
    store: method({ input: t.object("Entry", { key: t.string(), value: t.string() }) }, ({ key, value }) => {
      kv.setOctets(key, value);
      return { stored: key };
    }),
    find: method({ input: Key, output: Found }, ({ key }) => {
      const octets = kv.getOctets(key);
      if (octets === undefined) throw Failure.notFound(`no value \`${key}\``);
      return { value: decoder.decode(octets) };
    }),
    relay: method({ input: t.object({ service: t.string().default("table-ts"), method: t.string(), text: t.string() }) }, ({ service, method, text }) => ({
      reply: decoder.decode(client.callOctets(service, method, text)),
    })),
    publish: method({ input: t.object({ topic: t.string(), payload: t.any() }) }, ({ topic, payload }) => ({ subscribers: events.publish(topic, payload) })),
    collect: clientStream({ input: NumberMessage, output: Sum }, (numbers) => sumOf(Array.from(numbers, ({ value }) => value))),
    count: serverStream({ input: t.object({ to: t.integer(), then: t.string().optional() }), output: NumberMessage }, async function* ({ to, then }) {
      call.addHeader("x-first", "1");
      for (let value = 1; value <= to; value++) yield { value };
      if (then) throw new Failure(then as Kind, `ended after ${to}`);
      call.addTrailer("x-count", String(to));
    }),
    chat: bidirectional({ input: Line, output: Line }, answered),
    pass: bidirectional({ input: t.octets(), output: t.octets() }, async function* (chunks) {
      for await (const chunk of chunks) yield chunk;
    }),
    spin: () => {
      for (;;);
    },
  },
});

eventHandler((event) => kv.setOctets(`event:${event.topic}`, event.payload));
