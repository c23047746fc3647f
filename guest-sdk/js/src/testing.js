// A host for unit tests: no gateway, no component.
//
//     const host = new Host();
//     await host.call(notes, "Put", { key: "a", text: "b" });
//     assert.deepEqual(await host.call(notes, "Find", "a"), { key: "a", text: "b" });
//
// It keeps the limits that the gateway has for keys, values, topics and headers. Messages take the path
// that they take in a component.

import { callAsync } from "./async-fake.js";
import * as entry from "./entry.js";
import { FakeHost } from "./fake.js";
import { decode, encode, stringify } from "./json.js";
import { putHost } from "./host.js";
import { Event } from "./roles.js";

const octets = (value) => (value instanceof Uint8Array ? value : encode(stringify(value)));

/** An empty host: no config, no keys, nothing granted, 1,000 ms left for the call, transport `memory`,
 * every log level kept. Making one puts it in place, as a new instance of the plugin. */
export class Host {
  #fake = new FakeHost();

  constructor({ config = {} } = {}) {
    for (const [key, value] of Object.entries(config)) this.#fake.config.set(key, typeof value === "string" ? value : JSON.stringify(value));
    this.#enter();
  }

  #enter() {
    entry.reset();
    putHost(this.#fake);
  }

  /** Takes it away; functions of the host then throw. */
  close() {
    putHost(undefined);
    entry.reset();
  }
  [Symbol.dispose ?? Symbol.for("Symbol.dispose")]() {
    this.close();
  }

  // Before a call.

  /** Answers calls that the plugin makes: with a value as JSON, with octets, with a Failure, or with what a
   * function of the call gives. This also grants the service. */
  answer(service, method, reply) {
    if (!this.#fake.answers.has(service)) this.#fake.answers.set(service, new Map());
    this.#fake.answers.get(service).set(method, reply);
    return this;
  }
  /** Grants a topic and says how many subscribers it has. */
  topic(topic, subscribers = 1) {
    this.#fake.topics.set(topic, subscribers);
    return this;
  }
  /** Says who answers for a service; this also grants looking it up. A watch sees the difference the next time that
   * it is asked. */
  service(service, instances) {
    const whole = (instance) => ({ addresses: [], weight: 100, metadata: {}, healthy: true, stale: false, ...instance });
    this.#fake.directory.services.set(service, instances.map(whole));
    return this;
  }
  /** Lets every use of `kv` fail, or without a failure succeed again. */
  failKv(failure) {
    this.#fake.kvFailure = failure;
    return this;
  }
  /** Keeps only log lines of this level and above. */
  logLevel(level) {
    this.#fake.level = level;
    return this;
  }
  /** Says what the calls that follow know of their caller; what is left out stays as it is. */
  context(known) {
    const pairs = (headers) => Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? encode(value) : value]);
    const { headers, trailers, ...rest } = known;
    Object.assign(this.#fake.context, rest, headers && { headers: pairs(headers) }, trailers && { trailers: pairs(trailers) });
    return this;
  }
  /** The caller of the next stream leaves after so many replies. */
  leaveAfter(messages) {
    this.#fake.leavesAfter = messages;
    return this;
  }

  // Calls.

  /** Calls a unary method with a value as JSON and gives the reply as JSON. Throws what it fails with. */
  async call(service, method, value) {
    return JSON.parse(decode(await this.callOctets(service, method, octets(value))));
  }
  /** The same with octets. */
  async callOctets(service, method, body = new Uint8Array(0)) {
    this.#fake.beginCall(undefined);
    const reply = await entry.handle(service, method, body);
    return typeof reply === "string" ? encode(reply) : reply;
  }
  /** Calls with many messages as JSON and gives the replies as JSON. A message that is a Failure is what
   * the request ends with. `sent` has what was sent before a failure. */
  async stream(service, method, messages = []) {
    return (await this.streamOctets(service, method, messages)).map((message) => JSON.parse(decode(message)));
  }
  /** The same with octets out; in as they are where they are octets. */
  async streamOctets(service, method, messages = []) {
    this.#fake.beginCall(encoded(messages));
    await entry.handleStream(service, method);
    return [...this.#fake.sent];
  }
  /** Calls the handler of asynchronous streams with messages that are octets or values as JSON; a Failure is
   * what the request ends with. Gives the messages of the reply, or the pieces of a body of octets. */
  async asyncStream(service, method, messages = []) {
    return callAsync(this.#fake, service, method, encoded(messages));
  }
  /** Hands the event handler an event: a value as JSON, octets as they are. */
  async event(topic, payload, contentType = "application/json") {
    this.#fake.beginCall(undefined);
    await entry.onEvent(new Event(topic, octets(payload), contentType));
  }
  /** How the plugin is. */
  async health() {
    return entry.check();
  }
  /** A call for the interceptors. */
  exchange(service, method, payload, { headers = {} } = {}) {
    return new Exchange(this.#fake, service, method, octets(payload), headers);
  }
  /** A frame for the frame extension. */
  frame({ kind = "data", direction = "inbound", headers = {}, payload = new Uint8Array(0), flagBits = 0 } = {}) {
    return new Framed(this.#fake, { kind, direction, headers: Object.entries(headers), payload, flagBits });
  }
  /** Tells the balancer of the instances; what it gives places calls. */
  balancing(instances) {
    return new Balancing(this.#fake, instances);
  }
  /** Asks the authenticator. */
  async authenticate(scheme, token) {
    return entry.authenticate({ scheme, token });
  }
  /** Asks the authorizer. Throws what it refuses with. */
  async authorize(service, method) {
    await entry.authorize(service, method);
  }

  // After a call.

  get log() {
    return this.#fake.lines;
  }
  get kv() {
    return this.#fake.store;
  }
  get clientCalls() {
    return this.#fake.clientCalls;
  }
  get published() {
    return this.#fake.published;
  }
  /** The value of a counter or a gauge, of a histogram the sum; `undefined` where nothing was counted. */
  metric(name, labels = {}) {
    return this.#fake.metrics.series(name, labels)?.value;
  }
  /** The values that a histogram was told, in order. */
  observed(name, labels = {}) {
    return [...(this.#fake.metrics.series(name, labels)?.observed ?? [])];
  }
  get sent() {
    return this.#fake.sent;
  }
  /** What the last call set beside its messages: `headers`, `trailers`, `status`, `isOctets`. */
  get reply() {
    return this.#fake.reply;
  }
}

/** One by one: a test may look at what was sent before it gives the next. */
function* encoded(messages) {
  for (const message of messages) yield message instanceof Error ? message : octets(message);
}

/** A call on its way through interceptors. */
export class Exchange {
  reply = undefined;
  replyHeaders = {};
  failure = undefined;
  elapsed = 0;
  /** How often a payload crossed. */
  crossings = 0;
  isRequest = true;
  #fake;

  constructor(fake, service, method, payload, headers) {
    this.#fake = fake;
    Object.assign(this, { service, method, payload, headers });
  }
  /** Enters the interceptor of requests. Whether it answered; throws what it refuses with. */
  async onRequest() {
    this.isRequest = true;
    this.#fake.exchange = this;
    return entry.onRequest();
  }
  /** Enters the interceptor of responses with an outcome; gives the caller's, or throws it. */
  async onResponse({ reply, failure, elapsed = 0 } = {}) {
    this.isRequest = false;
    this.reply = failure ? undefined : octets(reply);
    Object.assign(this, { failure, elapsed });
    this.#fake.exchange = this;
    await entry.onResponse();
    if (this.failure) throw this.failure;
    return JSON.parse(decode(this.reply));
  }
}

/** A frame on its way through a frame extension. */
export class Framed {
  /** Whether the frame extension wanted to see it. */
  isSeen = false;
  /** How often the payload crossed. */
  crossings = 0;
  #fake;

  constructor(fake, frame) {
    this.#fake = fake;
    Object.assign(this, frame);
  }
  /** Asks by the head, and hands the frame over when it is wanted. `"pass"` or `"drop"`; throws what it is
   * refused with. */
  async enter() {
    const { kind, direction, flagBits, payload } = this;
    const headerBytes = this.headers.reduce((sum, pair) => sum + 2 + encode(pair.join("")).length, 0);
    this.isSeen = entry.shouldHandle({ kind, direction, flagBits, headerBytes, payloadBytes: payload.length });
    if (!this.isSeen) return "pass";
    this.#fake.framed = this;
    try {
      return (await entry.handleFrame()) ? "drop" : "pass";
    } finally {
      this.#fake.framed = undefined;
    }
  }
}

/** A balancer that was told of instances. */
export class Balancing {
  #fake;
  #count;

  constructor(fake, instances) {
    this.#fake = fake;
    this.#count = instances.length;
    entry.update(instances.map((each) => ({ weight: 100, metadata: {}, ...each })));
  }
  /** The index that it picks for a call. */
  pick(key, { unusable = [], random = 0 } = {}) {
    this.#fake.usableInstances = Array.from({ length: this.#count }, (_, index) => !unusable.includes(index));
    this.#fake.randomNumber = random;
    return entry.pick(key);
  }
  /** Tells how a call ended: `success`, `failure` or `timeout`. */
  done(index, outcome = "success", micros = 0) {
    entry.done(index, outcome, micros);
  }
}
