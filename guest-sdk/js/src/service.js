// Services: functions are methods. A plain function takes any JSON value and gives one; `method`,
// `serverStream`, `clientStream` and `bidirectional` declare types and streams.

import { Failure } from "./failure.js";
import { host } from "./host.js";
import { parse, stringify } from "./json.js";
import { Type } from "./schema.js";
import { isSettling, isThenable, settled, then } from "./then.js";

const registered = [];

/** The messages of a streaming request, for `for` and for `for await`, which takes what is no async iterable
 * as well. Waits for each. It is not both: esbuild compiles `yield*` of a generator as if it were an async
 * one, and would prefer the async iterator. */
export class Incoming {
  constructor(input) {
    this._input = input;
  }
  next() {
    const message = this._input?.isOctets ? host().next() : host().nextText();
    if (message === undefined) return { done: true, value: undefined };
    return { done: false, value: readMessage(this._input, message) };
  }
  return() {
    return { done: true, value: undefined };
  }
  [Symbol.iterator]() {
    return this;
  }
}

/** One method: the function, and how messages become its argument and its results messages. */
export class Method {
  constructor(kind, options, run) {
    if (typeof run !== "function") throw new TypeError(`a method is a function, not ${typeof run}`);
    for (const side of ["input", "output"]) {
      if (options[side] !== undefined && !(options[side] instanceof Type)) {
        throw new TypeError(`${side} is no type: make one with \`t\``);
      }
    }
    this.kind = kind;
    this.input = options.input;
    this.output = options.output;
    this.summary = options.summary ?? "";
    this.idempotent = options.idempotent ?? false;
    this.declaredName = options.name;
    this.run = run;
  }

  get takesStream() {
    return this.kind === "client-stream" || this.kind === "bidirectional";
  }
  get givesStream() {
    return this.kind === "server-stream" || this.kind === "bidirectional";
  }
  /** Whether its messages are text: those of JSON are. */
  get isText() {
    return !this.input?.isOctets && !this.output?.isOctets;
  }

  /** What answers a unary call: one message in, one out, or a promise of it, text or octets. Made once,
   * so that a call takes few steps. */
  get unary() {
    return (this.made ??= this.makeUnary());
  }

  makeUnary() {
    const { run, input, output } = this;
    const finish = (result, name) => then(result, (value) => this.write(name, value));
    if (input?.isOctets && output?.isOctets) {
      return (body, name) => {
        const result = run(body, name);
        return result instanceof Uint8Array ? result : finish(result, name);
      };
    }
    return (body, name) => finish(run(readMessage(input, body), name), name);
  }

  /** Messages from and to the host. */
  callStream(name) {
    const argument = this.takesStream ? new Incoming(this.input) : this.first();
    const { run } = this;
    const result = run(argument, name);
    if (!this.givesStream) return then(result, (value) => host().send(this.write(name, value)));
    return then(result, (replies) => this.sendEach(name, replies));
  }

  first() {
    const message = this.input?.isOctets ? host().next() : host().nextText();
    return readMessage(this.input, message ?? "");
  }

  sendEach(name, replies) {
    const isAsync = typeof replies?.[Symbol.asyncIterator] === "function";
    const open = isAsync ? replies[Symbol.asyncIterator] : replies?.[Symbol.iterator];
    if (typeof open !== "function" || typeof replies === "string") throw Failure.internal(`method ${name} gave no iterable: declare it as a generator`);
    const iterator = open.call(replies);
    return isAsync && !isSettling() ? this.sendAllAsync(name, iterator) : this.sendAll(name, iterator);
  }

  /** One after the other. Of an async iterator each step is run to its end. */
  sendAll(name, iterator) {
    for (let step = settled(iterator.next()); !step.done; step = settled(iterator.next())) {
      const failure = this.sendOne(name, step.value);
      if (failure === undefined) continue;
      settled(iterator.throw?.(failure));
      throw failure;
    }
  }

  /** The same for a test, which waits. */
  async sendAllAsync(name, iterator) {
    for (let step = await iterator.next(); !step.done; step = await iterator.next()) {
      const failure = this.sendOne(name, step.value);
      if (failure === undefined) continue;
      await iterator.throw?.(failure);
      throw failure;
    }
  }

  /** Gives why a message was not sent: that is thrown where the function yields, so that it can clean up. */
  sendOne(name, value) {
    try {
      host().send(this.write(name, value));
      return undefined;
    } catch (failure) {
      return failure;
    }
  }

  write(name, value) {
    if (this.output?.isOctets) {
      if (value instanceof Uint8Array || typeof value === "string") return value;
      if (value instanceof ArrayBuffer) return new Uint8Array(value);
      throw Failure.internal(`method ${name} gave ${typeof value}, declared are octets`);
    }
    if (this.output === undefined) {
      if (typeof value?.next === "function") throw Failure.internal(`method ${name} gave a generator: declare it with serverStream`);
      return stringify(value);
    }
    try {
      value = this.output.parse(value ?? null);
    } catch (error) {
      throw Failure.internal(`method ${name} gave what is not declared: ${error.message}`);
    }
    return stringify(value);
  }
}

function readMessage(input, message) {
  if (input === undefined) return parse(message);
  return input.isOctets ? message : input.parseMessage(message);
}

/** A service of the plugin. */
export class Service {
  constructor({ name, version, summary = "", methods = {}, fallback }) {
    if (typeof name !== "string" || name === "") throw new TypeError("a service has a name");
    this.name = name;
    this.version = version;
    this.summary = summary;
    this.methods = new Map();
    for (const [key, declared] of Object.entries(methods)) {
      const method = asMethod(declared, key);
      const called = method.declaredName ?? key.charAt(0).toUpperCase() + key.slice(1);
      if (this.methods.has(called)) throw new TypeError(`service \`${name}\` has two methods \`${called}\``);
      this.methods.set(called, method);
    }
    this.fallback = fallback && asMethod(fallback, "fallback");
  }

  /** The method of that name. Throws `not-found` that names those that there are. */
  find(method) {
    const found = this.methods.get(method) ?? this.fallback;
    if (found) return found;
    const known = [...this.methods.keys()].map((name) => `\`${name}\``).join(", ");
    throw Failure.notFound(`service \`${this.name}\` has no method \`${method}\`; it has ${known || "none"}`);
  }

  /** Name and method of each, the fallback last. */
  all() {
    return this.fallback ? [...this.methods, ["*", this.fallback]] : [...this.methods];
  }
}

function asMethod(declared, key) {
  if (declared instanceof Method) return declared;
  if (typeof declared !== "function") throw new TypeError(`method ${key} is no function`);
  if (/^(Async)?GeneratorFunction$/.test(declared.constructor.name)) {
    throw new TypeError(`method ${key} is a generator: declare it with serverStream or bidirectional`);
  }
  return new Method("unary", {}, declared);
}

/** Makes a service and registers it. */
export function service(options) {
  const made = new Service(options);
  registered.push(made);
  return made;
}

/** A unary method. A second argument of the function is the method's name. */
export const method = (options, run) => new Method("unary", options, run);
/** One message in, many out: a generator. */
export const serverStream = (options, run) => new Method("server-stream", options, run);
/** Many messages in, one out. */
export const clientStream = (options, run) => new Method("client-stream", options, run);
/** Many messages in, many out: a generator. */
export const bidirectional = (options, run) => new Method("bidirectional", options, run);

/** Those that were made so far. */
export function services() {
  return registered;
}

/** The service of that name; a test gives the service itself. A plugin with one answers under any name. */
export function findService(name) {
  if (name instanceof Service) return name;
  if (registered.length === 1) return registered[0];
  const found = registered.find((each) => each.name === name);
  if (!found) throw Failure.notFound(`there is no service \`${name}\` in this plugin`);
  return found;
}

/** How `describe` calls a type; empty for octets and for anything. */
export function typeName(type) {
  return type === undefined || type.isOctets || type.name === "any" ? "" : type.name;
}

/** Name and schema of the types that the methods of a service name; types of one name have to be one. */
export function schemasOf(services) {
  const found = new Map();
  for (const each of services) {
    for (const [name, made] of each.all()) {
      for (const type of [made.input, made.output]) {
        if (typeName(type) === "") continue;
        const label = schemaName(type, name, type === made.input);
        found.set(label, JSON.stringify({ ...type.toSchema(), title: label }));
      }
    }
  }
  return [...found];
}

/** A type without a name of its own is called after its method. */
export function schemaName(type, method, isInput) {
  if (typeName(type) === "") return "";
  return type.name === "object" ? `${method === "*" ? "Any" : method}${isInput ? "Request" : "Reply"}` : type.name;
}
