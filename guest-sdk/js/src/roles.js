// Roles beside services. Each function marks what has the role; a component has each role once.

import { Failure } from "./failure.js";
import { host } from "./host.js";
import { decode, parse, stringify } from "./json.js";

/** What was marked so far. */
export const roles = {};

function mark(role, value) {
  if (roles[role] !== undefined) throw new TypeError(`two functions have the role ${role}`);
  roles[role] = value;
  return value;
}

/** Runs once in each instance, before its first call. Where it throws, calls fail with what it threw and
 * health is not-serving. */
export const onStart = (run) => mark("onStart", run);
/** Says whether the plugin can serve: nothing, or `{ status, message }`. */
export const health = (check) => mark("health", check);
/** Takes events of the topics that the manifest names. */
export const eventHandler = (handle) => mark("eventHandler", handle);
/** Sees calls on their way in. Nothing lets it go on, a `reply(..)` answers it, a Failure refuses it. */
export const requestInterceptor = (intercept) => mark("requestInterceptor", intercept);
/** Sees what became of calls, on their way out. A Failure takes the place of the outcome. */
export const responseInterceptor = (intercept) => mark("responseInterceptor", intercept);
/** Says who calls; nothing: not mine to judge. */
export const authenticator = (authenticate) => mark("authenticator", authenticate);
/** Says what callers may do: gets service and method, and throws `permission-denied`. */
export const authorizer = (authorize) => mark("authorizer", authorize);

/** Marks what makes the object of a role: a class, or a function that gives an object. */
function markMaker(role, what, names, make) {
  if (isClass(make)) {
    const missing = names.find((name) => typeof make.prototype[name] !== "function");
    if (missing) throw new TypeError(`the ${what} ${make.name} has no function \`${missing}\``);
  }
  return mark(role, make);
}

const isClass = (make) => /^class\b/.test(Function.prototype.toString.call(make));

/** The object of a role. */
export function make(role) {
  const maker = required(role);
  return isClass(maker) ? new maker() : maker();
}

/** Answers every streaming call of the component: an async generator function that gets the service, the method
 * and the request, an async iterable of messages, and yields messages. A component has no role beside it. */
export function asyncStreamHandler(handle) {
  if (handle?.constructor?.name !== "AsyncGeneratorFunction") throw new TypeError("the handler of asynchronous streams is no `async function*`");
  return mark("asyncStreamHandler", handle);
}

/** Places calls: a class, or a function that gives an object, with `update(instances)`,
 * `pick(key, candidates)` and, if it wants to be told how calls ended, `done(index, outcome, micros)`.
 * There is one object per worker thread and service. */
export const balancer = (maker) => markMaker("balancer", "balancer", ["update", "pick"], maker);

/** Sees frames: a class, or a function that gives an object, with `shouldHandle(head)`, whether it is to see
 * this frame, and `handleFrame(frame)`, which gives `"drop"` or nothing; a Failure refuses the frame. There is
 * one object for each instance. */
export const frameExtension = (maker) => markMaker("frameExtension", "frame extension", ["shouldHandle", "handleFrame"], maker);

/** What a request interceptor answers with: a value as JSON, octets as they are. */
export class Reply {
  constructor(value, headers = {}) {
    this.value = value;
    this.headers = headers;
  }
  payload() {
    return this.value instanceof Uint8Array ? this.value : stringify(this.value);
  }
}

export const reply = (value, { headers } = {}) => new Reply(value, headers);

/** What has happened. Its other headers are asked of `call`. */
export class Event {
  constructor(topic, payload, contentType) {
    this.topic = topic;
    this.payload = payload;
    this.contentType = contentType;
  }
  /** The payload as text. */
  text() {
    return decode(this.payload);
  }
  /** The payload as JSON, checked by a type where one is given. */
  json(type) {
    return type ? type.parseMessage(this.payload) : parse(this.payload);
  }
}

/** What requests and responses have in common; `side` names the functions of the host. */
class Exchanged {
  constructor(side) {
    this._of = () => host()[side];
  }
  /** The first value of a header; `undefined` also when it is not UTF-8. */
  header(name) {
    return this._of().header(name);
  }
  /** All headers in order, duplicates included: name and octets. */
  headers() {
    return this._of().headers();
  }
  /** Puts a header in the place of all of that name. */
  setHeader(name, value) {
    this._of().setHeader(name, value);
  }
  /** Takes all headers of that name away. */
  removeHeader(name) {
    this._of().removeHeader(name);
  }
  /** The message of a unary call as it is. Only here does it cross into the component. */
  octets() {
    return this._of().payload();
  }
  /** The message as JSON, checked by a type where one is given. */
  payload(type) {
    const message = this._of().payloadText();
    return type ? type.parseMessage(message) : parse(message);
  }
  /** Puts another message in place: a value as JSON, octets as they are. */
  setPayload(value) {
    this._of().setPayload(value instanceof Uint8Array ? value : stringify(value));
  }
}

/** The call on its way to its handler. Changes are for interceptors of requests. */
export class Request extends Exchanged {
  constructor() {
    super("request");
  }
  get service() {
    return this._of().service();
  }
  get method() {
    return this._of().method();
  }
}

/** What the call came to. */
export class Response extends Exchanged {
  constructor() {
    super("response");
  }
  /** Why the call failed; `undefined` when it did not. */
  get failed() {
    return this._of().failed();
  }
  /** Milliseconds since the call came in. */
  get elapsed() {
    return this._of().elapsedMicros() / 1000;
  }
}

/** The frame in hand. */
export const frame = Object.freeze({
  /** The first value of a header; `undefined` also when it is not UTF-8. */
  header: (name) => host().frame.header(name),
  /** All headers in order, duplicates included: name and octets. */
  headers: () => host().frame.headers(),
  /** Puts a header in the place of all of that name. */
  setHeader: (name, value) => host().frame.setHeader(name, value),
  /** Adds a header beside those of that name. */
  addHeader: (name, value) => host().frame.addHeader(name, value),
  /** Takes all headers of that name away. */
  removeHeader: (name) => host().frame.removeHeader(name),
  /** The payload as octets. Only here does it cross into the component. */
  payload: () => host().frame.payload(),
  /** Puts another payload in place. */
  setPayload: (payload) => host().frame.setPayload(payload),
});

/** What the gateway knows of the instances while it asks for a pick. */
export const candidates = Object.freeze({
  /** Whether the instance may get this call. */
  usable: (index) => host().usable(index),
  /** A random number below 2^53, new at every pick. */
  random: () => host().random(),
});

/** The function with a role. */
export function required(role) {
  if (roles[role] === undefined) throw Failure.internal(`the plugin has nothing with the role ${role}`);
  return roles[role];
}
