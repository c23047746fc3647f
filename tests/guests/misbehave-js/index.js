// Breaks every limit that JavaScript can, one method each: the methods of tests/guests/misbehave.

import { call, client, config, log, method, serverStream, service, t } from "postern";

const recurse = (depth) => recurse(depth + 1) * 31 + depth;
const number = t.object("Number", { value: t.integer() });

service({
  name: "misbehave-js",
  version: "0.1.0",
  summary: "Breaks every limit.",
  methods: {
    echo: method({ input: t.octets(), output: t.octets() }, (body) => body),
    loop() {
      for (;;);
    },
    allocate() {
      const held = [];
      for (;;) held.push(new Uint8Array(1 << 20).fill(165));
    },
    recurse: () => recurse(1),
    floodLog({ lines, bytes }) {
      const text = "x".repeat(bytes);
      for (let n = 0; n < lines; n++) log.info(text, { n });
      return lines;
    },
    floodPrint() {
      for (;;) console.log("a line of some forty octets, again and again");
    },
    bigOutput: method({ input: t.object({ bytes: t.integer() }), output: t.octets() }, ({ bytes }) => "x".repeat(bytes)),
    hostCalls({ count }) {
      let absent = 0;
      for (let n = 0; n < count; n++) absent += config.get("absent") === undefined ? 1 : 0;
      return absent;
    },
    callItself: () => ({ reply: client.callOctets("misbehave-js", "CallItself", "null").length }),
    loopAfter: serverStream({ output: number }, function* () {
      yield { value: 1 };
      for (;;);
    }),
    drip: serverStream({ input: t.object({ ms: t.integer() }), output: number }, async function* ({ ms }) {
      for (let value = 0; ; value++) {
        await new Promise((resolve) => setTimeout(resolve, ms));
        yield { value };
      }
    }),
  },
});
