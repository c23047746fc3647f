// mqtt.js against the gateway, over TCP and over WebSocket. Prints `case: ok`, or what was wrong.
//
// mqttjs.mjs MQTT-PORT HTTP-PORT
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_FOLDER}/`);
const mqtt = require("mqtt");
const [mqttPort, httpPort] = process.argv.slice(2);
const PATIENCE = 20_000;

const within = (promise, name) =>
  Promise.race([
    promise,
    new Promise((_, fail) => setTimeout(() => fail(new Error(`no ${name}`)), PATIENCE).unref()),
  ]);
const equal = (found, expected) => {
  const [one, other] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${one} in the place of ${other}`);
};

class Client {
  messages = [];
  waiting = [];

  static async connect(url, options = {}) {
    const client = new Client();
    client.mqtt = mqtt.connect(url, { reconnectPeriod: 0, ...options });
    client.mqtt.on("message", (topic, payload, packet) => {
      const message = { topic, payload: payload.toString(), packet };
      const next = client.waiting.shift();
      next ? next(message) : client.messages.push(message);
    });
    await within(
      new Promise((done, fail) => client.mqtt.once("connect", done).once("error", fail)),
      "CONNACK",
    );
    return client;
  }

  message() {
    const first = this.messages.shift();
    return first ?? within(new Promise((done) => this.waiting.push(done)), "message");
  }

  close = () => this.mqtt.endAsync();
}

const cases = {
  async publish_and_subscribe(url, options) {
    const client = await Client.connect(url, options);
    for (const qos of [0, 1, 2]) {
      await client.mqtt.subscribeAsync(`js/${qos}`, { qos });
      await client.mqtt.publishAsync(`js/${qos}`, `${qos}`, { qos });
      const { topic, payload, packet } = await client.message();
      equal([topic, payload, packet.qos], [`js/${qos}`, `${qos}`, qos]);
    }
    await client.close();
  },

  async many_messages_in_order(url, options) {
    const client = await Client.connect(url, options);
    await client.mqtt.subscribeAsync("js/many", { qos: 1 });
    const sent = [];
    for (let number = 0; number < 500; number += 1) {
      sent.push(client.mqtt.publishAsync("js/many", `${number}`, { qos: 1 }));
    }
    await within(Promise.all(sent), "acknowledgements");
    for (let number = 0; number < 500; number += 1) equal((await client.message()).payload, `${number}`);
    await client.close();
  },

  async a_large_message(url, options) {
    const client = await Client.connect(url, options);
    await client.mqtt.subscribeAsync("js/large", { qos: 1 });
    const payload = "x".repeat(900_000);
    await client.mqtt.publishAsync("js/large", payload, { qos: 1 });
    equal((await client.message()).payload.length, payload.length);
    await client.close();
  },

  async a_will(url, options) {
    const reader = await Client.connect(url, options);
    await reader.mqtt.subscribeAsync("js/will", { qos: 1 });
    const will = { topic: "js/will", payload: Buffer.from("gone"), qos: 1 };
    const client = await Client.connect(url, { ...options, will });
    client.mqtt.stream.destroy();
    equal((await reader.message()).payload, "gone");
    await reader.close();
  },

  async a_session_that_is_kept(url, options) {
    const kept = {
      ...options,
      clientId: `js-${url.length}-${options.protocolVersion}`,
      clean: false,
      properties: options.protocolVersion === 5 ? { sessionExpiryInterval: 600 } : undefined,
    };
    const first = await Client.connect(url, kept);
    await first.mqtt.subscribeAsync("js/kept", { qos: 1 });
    await first.close();
    const writer = await Client.connect(url, options);
    await writer.mqtt.publishAsync("js/kept", "waited", { qos: 1 });
    const second = await Client.connect(url, kept);
    equal((await second.message()).payload, "waited");
    await second.mqtt.unsubscribeAsync("js/kept");
    await second.close();
    await writer.close();
  },
};

const of5 = {
  async properties_and_aliases(url, options) {
    const client = await Client.connect(url, {
      ...options,
      autoAssignTopicAlias: true,
      properties: { topicAliasMaximum: 10, receiveMaximum: 5, requestProblemInformation: true },
    });
    await client.mqtt.subscribeAsync("js/given/#", { qos: 1, properties: { subscriptionIdentifier: 9 } });
    for (let number = 0; number < 20; number += 1) {
      await client.mqtt.publishAsync("js/given/a", `${number}`, {
        qos: 1,
        properties: { userProperties: { a: ["1", "2"] }, contentType: "text/plain" },
      });
    }
    for (let number = 0; number < 20; number += 1) {
      const { topic, payload, packet } = await client.message();
      equal([topic, payload], ["js/given/a", `${number}`]);
      equal(packet.properties.userProperties, { a: ["1", "2"] });
      equal(packet.properties.contentType, "text/plain");
      equal(packet.properties.subscriptionIdentifier, 9);
    }
    await client.close();
  },

  async a_request_and_its_reply(url, options) {
    const client = await Client.connect(url, options);
    await client.mqtt.subscribeAsync("js/replies", { qos: 1 });
    const ask = async (topic, payload) => {
      const correlationData = Buffer.from("7");
      await client.mqtt.publishAsync(topic, payload, {
        qos: 1,
        properties: { responseTopic: "js/replies", correlationData, contentType: "application/json" },
      });
      const { payload: answer, packet } = await client.message();
      equal(packet.properties.correlationData.toString(), "7");
      return [packet.properties.userProperties.status, answer];
    };
    const [status, answer] = await ask("$call/echo/Echo", '{"a":1}');
    equal([status, JSON.parse(answer)], ["success", { a: 1 }]);
    const [failed, why] = await ask("$call/nobody/Echo", "{}");
    equal([failed, JSON.parse(why).code], ["not-found", 404]);
    await client.close();
  },
};

const urls = { tcp: `mqtt://127.0.0.1:${mqttPort}`, ws: `ws://127.0.0.1:${httpPort}/mqtt` };
for (const [transport, url] of Object.entries(urls)) {
  for (const protocolVersion of [4, 5]) {
    const all = protocolVersion === 5 ? { ...cases, ...of5 } : cases;
    for (const [name, run] of Object.entries(all)) {
      try {
        await run(url, { protocolVersion });
        console.log(`${name}-${transport}-${protocolVersion}: ok`);
      } catch (error) {
        console.log(`${name}-${transport}-${protocolVersion}: ${error}`);
      }
    }
  }
}
process.exit(0);
