// The imports as a test's host offers them; `component.js` has the same functions for the real one.

import { Failure } from "./failure.js";
import { FakeDirectory, FakeMetrics } from "./fake_capabilities.js";
import { decode, decodeOrNothing, encode, stringify, wellFormed } from "./json.js";
import { LEVELS } from "./log.js";

/** wit, interface `kv`. */
const KEY_BYTES_MAX = 1024;
const VALUE_BYTES_MAX = 1 << 20;
const KEYS_MAX = 1000;
/** wit, interface `call`. */
const HEADER_NAME_BYTES_MAX = 255;
const HEADERS_BYTES_MAX = 65_535;
/** The longest value that fits in one header entry. */
const TOPIC_BYTES_MAX = 255;
/** `plugins.limits.output` of the gateway, unless it is configured. */
const OUTPUT_BYTES_MAX = 8 << 20;

const octets = (message) => (typeof message === "string" ? encode(message) : message);
const same = (a, b) => (a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0);

export class FakeHost {
  config = new Map();
  store = new Map();
  kvFailure = undefined;
  lines = [];
  level = "trace";
  answers = new Map();
  clientCalls = [];
  topics = new Map();
  published = [];
  metrics = new FakeMetrics();
  directory = new FakeDirectory();
  context = { headers: [], trailers: [], requestKind: "message", peer: { transport: "memory" }, claims: {}, remaining: 1000, correlationId: "1" };
  exchange = undefined;
  framed = undefined;
  usableInstances = [];
  randomNumber = 0;
  leavesAfter = Infinity;

  constructor() {
    this.beginCall(undefined);
    this.request = new FakeRequest(this);
    this.response = new FakeResponse(this);
    this.frame = new FakeFrame(this);
  }

  /** Forgets what the last call replied. `messages` makes it a stream. */
  beginCall(messages) {
    this.incoming = messages?.[Symbol.iterator]();
    this.hasEnded = messages === undefined;
    this.sent = [];
    this.requestFailureFound = undefined;
    this.replyFailure = undefined;
    this.reply = { headers: [], trailers: [], status: undefined, isOctets: false };
  }

  header = (name) => first(this.context.headers, name);
  headers = () => [...this.context.headers];
  http = () => this.context.http;
  requestKind = () => this.context.requestKind;
  trailers = () => (this.hasEnded ? [...this.context.trailers] : []);
  peer = () => this.context.peer;
  principal = () => this.context.principal;
  claim = (name) => this.context.claims[name];
  remainingMs = () => this.context.remaining;
  correlationId = () => this.context.correlationId;
  traceparent = () => this.context.traceparent;

  setStatus(status) {
    if (!(status >= 200 && status <= 599)) throw Failure.invalidArgument(`http status ${status} is not within 200 to 599`);
    this.#checkUnsent("the status");
    this.reply.status = status;
  }
  setOctets() {
    if (!this.incoming) throw Failure.failedPrecondition("the call is not a stream");
    this.#checkUnsent("the kind of the reply");
    this.reply.isOctets = true;
  }
  repliesInOctets = () => this.reply.isOctets;
  requestFailure = () => this.requestFailureFound;
  fail(failure) {
    this.replyFailure = failure;
  }
  addHeader(name, value) {
    this.#checkUnsent("the header");
    this.reply.headers = added(this.reply.headers, name, value);
  }
  addTrailer(name, value) {
    this.reply.trailers = added(this.reply.trailers, name, value);
  }
  next() {
    this.#checkPresent();
    const step = this.incoming?.next() ?? { done: true };
    if (step.value instanceof Failure) throw step.value;
    this.hasEnded = Boolean(step.done);
    return step.done ? undefined : octets(step.value);
  }
  nextText() {
    const message = this.next();
    return message && decode(message);
  }
  send(message) {
    this.#checkPresent();
    this.sent.push(octets(message));
  }
  #checkUnsent(what) {
    if (this.sent.length) throw Failure.failedPrecondition(`${what} cannot be set once a message was sent`);
  }
  #checkPresent() {
    if (this.sent.length >= this.leavesAfter) throw Failure.cancelled("the caller has left");
  }

  logEnabled(level) {
    return LEVELS.indexOf(level) >= LEVELS.indexOf(this.level);
  }
  logWrite(level, message, fields) {
    if (this.logEnabled(level)) this.lines.push({ level, message: wellFormed(message), fields: Object.fromEntries(fields.map((pair) => pair.map(wellFormed))) });
  }

  configGet = (key) => this.config.get(key);
  configAll = () => [...this.config].sort(([a], [b]) => (a < b ? -1 : 1));

  kvGet(key) {
    return this.store.get(this.#checkKv(key));
  }
  kvGetText(key) {
    const value = this.kvGet(key);
    if (value === undefined) return undefined;
    const text = decodeOrNothing(value);
    if (text === undefined) throw Failure.failedPrecondition(`the value of key \`${key}\` is not UTF-8`);
    return text;
  }
  kvSet(key, value) {
    this.store.set(this.#checkKv(key), checkedValue(octets(value)));
  }
  kvDelete(key) {
    return this.store.delete(this.#checkKv(key));
  }
  kvSwap(key, expected, value) {
    key = this.#checkKv(key);
    if (!same(this.store.get(key), expected)) return false;
    if (value === undefined) this.store.delete(key);
    else this.store.set(key, checkedValue(value));
    return true;
  }
  kvKeys(prefix, after, limit) {
    if (limit > KEYS_MAX) throw Failure.invalidArgument(`limit ${limit} exceeds the limit of ${KEYS_MAX} keys`);
    if (this.kvFailure) throw this.kvFailure;
    const found = [...this.store.keys()].filter((key) => key.startsWith(prefix) && (after === undefined || key > after));
    return found.sort().slice(0, limit);
  }
  /** The key as the store has it. */
  #checkKv(key) {
    if (this.kvFailure) throw this.kvFailure;
    const length = encode(key).length;
    if (length < 1 || length > KEY_BYTES_MAX) throw Failure.invalidArgument(`key of ${length} octets is not 1 to ${KEY_BYTES_MAX}`);
    return wellFormed(key);
  }

  clientCall(service, method, body, headers, timeout) {
    const call = { service, method, body: octets(body), headers: Object.fromEntries(headers.map((pair) => pair.map(wellFormed))), timeout };
    this.clientCalls.push(call);
    const methods = this.answers.get(service);
    if (!methods) throw Failure.permissionDenied(`service \`${service}\` is not granted to this plugin`);
    if (!methods.has(method)) throw Failure.notFound(`service \`${service}\` has no method \`${method}\``);
    let reply = methods.get(method);
    if (typeof reply === "function") reply = reply(call);
    if (reply instanceof Failure) throw reply;
    return reply instanceof Uint8Array ? reply : encode(stringify(reply));
  }
  clientCallText(...call) {
    return decode(this.clientCall(...call));
  }

  publish(topic, contentType, payload) {
    const length = encode(topic).length;
    if (length < 1 || length > TOPIC_BYTES_MAX) throw Failure.invalidArgument(`topic of ${length} octets is not 1 to ${TOPIC_BYTES_MAX}`);
    if (!this.topics.has(topic)) throw Failure.permissionDenied(`topic \`${topic}\` is not granted to this plugin`);
    this.published.push({ topic, contentType, payload: octets(payload) });
    return this.topics.get(topic);
  }

  metricDeclare = (name, kind, help, bounds) => this.metrics.declare(name, kind, help, bounds);
  metricChange = (change, name, labels, value) => this.metrics.change(change, name, labels, value);
  directoryDiscover = (service) => this.directory.discover(service);
  directoryNextChange = (service, revision) => this.directory.nextChange(service, revision);

  usable = (index) => this.usableInstances[index] ?? false;
  random = () => this.randomNumber;
}

/** A side of an exchange: headers and a payload that may be changed. */
class FakeSide {
  constructor(fake) {
    this.fake = fake;
  }
  get exchange() {
    return this.fake.exchange;
  }
  header(name) {
    return this.pairs()[name];
  }
  headers() {
    return Object.entries(this.pairs()).map(([name, value]) => [name, encode(value)]);
  }
  setHeader(name, value) {
    this.check("headers");
    added(Object.entries(this.pairs()), name, value);
    this.pairs()[wellFormed(name)] = wellFormed(value);
  }
  removeHeader(name) {
    this.check("headers");
    delete this.pairs()[name];
  }
  payloadText() {
    return decode(this.payload());
  }
}

class FakeRequest extends FakeSide {
  pairs = () => this.exchange.headers;
  service = () => this.exchange.service;
  method = () => this.exchange.method;
  check() {
    if (!this.exchange.isRequest) throw Failure.failedPrecondition("the request is no longer there");
  }
  payload() {
    this.check();
    this.exchange.crossings++;
    return this.exchange.payload;
  }
  setPayload(payload) {
    this.check();
    this.exchange.crossings++;
    this.exchange.payload = octets(payload);
  }
}

class FakeResponse extends FakeSide {
  pairs = () => this.exchange.replyHeaders;
  failed = () => this.exchange.failure;
  elapsedMicros = () => this.exchange.elapsed * 1000;
  check(what) {
    if (this.exchange.failure) throw Failure.failedPrecondition(`a failure has no ${what}`);
  }
  payload() {
    this.check("payload");
    this.exchange.crossings++;
    return this.exchange.reply ?? new Uint8Array(0);
  }
  setPayload(payload) {
    this.exchange.crossings++;
    this.exchange.reply = octets(payload);
    this.exchange.failure = undefined;
  }
}

/** The frame in hand; without one there is nothing to read. */
class FakeFrame {
  constructor(fake) {
    this.fake = fake;
  }
  #inHand() {
    if (!this.fake.framed) throw Failure.failedPrecondition("no frame is handled");
    return this.fake.framed;
  }
  header = (name) => first(this.headers(), name);
  headers = () => (this.fake.framed?.headers ?? []).map(([name, value]) => [name, encode(value)]);
  setHeader(name, value) {
    const framed = this.#inHand();
    framed.headers = added(without(framed.headers, name), name, value);
  }
  addHeader(name, value) {
    const framed = this.#inHand();
    framed.headers = added(framed.headers, name, value);
  }
  removeHeader(name) {
    const framed = this.#inHand();
    framed.headers = without(framed.headers, name);
  }
  payload() {
    if (!this.fake.framed) return new Uint8Array(0);
    this.fake.framed.crossings++;
    return this.fake.framed.payload;
  }
  setPayload(payload) {
    const framed = this.#inHand();
    const whole = octets(payload);
    if (whole.length > OUTPUT_BYTES_MAX) throw Failure.resourceExhausted(`payload of ${whole.length} octets exceeds the limit of ${OUTPUT_BYTES_MAX}`);
    framed.crossings++;
    framed.payload = whole;
  }
}

const without = (headers, name) => headers.filter(([key]) => key !== name);

function first(headers, name) {
  const found = headers.find(([key]) => key === name);
  return found && decodeOrNothing(found[1]);
}

function checkedValue(value) {
  if (value.length > VALUE_BYTES_MAX) throw Failure.invalidArgument(`value of ${value.length} octets exceeds the limit of ${VALUE_BYTES_MAX}`);
  return value;
}

/** The headers with one more, within the limits. */
function added(headers, name, value) {
  const length = encode(name).length;
  if (length < 1 || length > HEADER_NAME_BYTES_MAX) throw Failure.invalidArgument(`header name of ${length} octets is not 1 to ${HEADER_NAME_BYTES_MAX}`);
  const all = [...headers, [wellFormed(name), wellFormed(value)]];
  const total = all.reduce((sum, [key, each]) => sum + encode(key).length + encode(each).length, 0);
  if (total > HEADERS_BYTES_MAX) throw Failure.invalidArgument(`headers of ${total} octets exceed the limit of ${HEADERS_BYTES_MAX}`);
  return all;
}
