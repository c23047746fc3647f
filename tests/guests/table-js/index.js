// The calls of tests/vectors/guests.json in JavaScript: plain functions, types only where they matter.

import { Failure, bidirectional, call, client, clientStream, config, eventHandler, events, kv, method, serverStream, service, t } from "postern";

const sumOf = (values) => ({ sum: values.reduce((sum, value) => sum + value, 0), count: values.length });
const textOf = (octets) => new TextDecoder().decode(octets);
const number = t.object("Number", { value: t.integer() });

service({
  name: "table-js",
  version: "0.1.0",
  summary: "Answers the table of calls.",
  methods: {
    echo: method({ input: t.octets(), output: t.octets(), idempotent: true, summary: "Gives back what it got." }, (body) => body),
    sum: method({ input: t.object({ values: t.array(t.integer()) }) }, async ({ values }) => sumOf(values)),
    fail({ kind, message, details }) {
      throw new Failure(kind, message, details);
    },
    async throw({ message }) {
      throw new Error(message);
    },
    header({ name }) {
      const value = call.header(name);
      if (value !== undefined) call.addHeader("x-out", value);
      return { value: value ?? null };
    },
    draw: () => ({ random: Math.random(), now: Date.now(), greeting: config.get("greeting") ?? null }),
    setting: ({ key }) => ({ value: config.get(key) ?? null }),
    store({ key, value }) {
      kv.setOctets(key, value);
      return { stored: key };
    },
    find({ key }) {
      const octets = kv.getOctets(key);
      if (octets === undefined) throw Failure.notFound(`no value \`${key}\``);
      return { value: textOf(octets) };
    },
    relay: ({ service = "table-js", method, text }) => ({ reply: textOf(client.callOctets(service, method, text)) }),
    publish: ({ topic, payload }) => ({ subscribers: events.publish(topic, payload) }),
    collect: clientStream({ input: number }, async (numbers) => {
      const values = [];
      for await (const { value } of numbers) values.push(value);
      return sumOf(values);
    }),
    count: serverStream({ input: t.object({ to: t.integer(), then: t.string().optional() }), output: number }, function* ({ to, then }) {
      call.addHeader("x-first", "1");
      for (let value = 1; value <= to; value++) yield { value };
      if (then) throw new Failure(then, `ended after ${to}`);
      call.addTrailer("x-count", String(to));
    }),
    chat: bidirectional({}, async function* (lines) {
      for await (const { text } of lines) {
        if (text === "throw") throw new Error("throw");
        yield { text: text.toUpperCase() };
      }
    }),
    pass: bidirectional({ input: t.octets(), output: t.octets() }, function* (chunks) {
      yield* chunks;
    }),
    spin() {
      for (;;);
    },
  },
});

eventHandler((event) => kv.setOctets(`event:${event.topic}`, event.payload));
