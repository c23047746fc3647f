// Types of messages: they check values, give JSON Schema (2020-12), and are types of TypeScript.

import { Failure } from "./failure.js";
import { parse } from "./json.js";

/** Where and why a value is not what its type says. */
class Mismatch extends Error {
  path = "";
  /** Whether the value is of another kind altogether: a string for a number. */
  isOther = false;
  within(part) {
    const joint = this.path === "" || this.path.startsWith("[") ? "" : ".";
    this.path = part + joint + this.path;
    return this;
  }
  text() {
    return this.path ? `\`${this.path}\`: ${this.message}` : this.message;
  }
}

/** One type. `read` gives the value or throws; `schema` describes it, named types by reference. */
export class Type {
  constructor(name, read, schema, options = {}) {
    this.name = name;
    this.isOptional = options.isOptional ?? false;
    this.isNamed = options.isNamed ?? false;
    this.isOctets = options.isOctets ?? false;
    this.description = options.description;
    this.fallback = options.fallback;
    this._read = read;
    this._schema = schema;
  }

  /** The same with a sentence for people. */
  describe(description) {
    return new Type(this.name, this._read, this._schema, { ...this, description });
  }

  /** The same under a name, by which schemas refer to it. */
  named(name) {
    return new Type(name, this._read, this._schema, { ...this, isNamed: true });
  }

  /** A member that may be absent. */
  optional() {
    return new Type(this.name, this._read, this._schema, { ...this, isOptional: true });
  }

  /** A member that has a value where it is absent. */
  default(fallback) {
    return new Type(this.name, this._read, this._schema, { ...this, isOptional: true, fallback });
  }

  /** The value, or `null`. */
  nullable() {
    return union(this, nothing());
  }

  /** Checks a value. Throws `invalid-argument` that leads to the fault. */
  parse(value) {
    try {
      return this._read(value);
    } catch (error) {
      if (error instanceof Mismatch) throw Failure.invalidArgument(error.text());
      throw error;
    }
  }

  /** Reads a message. */
  parseMessage(message) {
    return this.parse(parse(message));
  }

  /** JSON Schema with the named types it is made of in `$defs`. */
  toSchema() {
    const definitions = {};
    const schema = this._describe(definitions, true);
    const found = { $schema: "https://json-schema.org/draft/2020-12/schema", title: this.name, ...schema };
    if (Object.keys(definitions).length) found.$defs = definitions;
    return found;
  }

  _describe(definitions, isTop = false) {
    if (this.isNamed && !isTop) {
      if (!(this.name in definitions)) {
        definitions[this.name] = {}; // a type may name itself
        definitions[this.name] = this._described(definitions);
      }
      return { $ref: `#/$defs/${this.name}` };
    }
    return this._described(definitions);
  }

  _described(definitions) {
    const schema = this._schema(definitions);
    if (this.description !== undefined) schema.description = this.description;
    if (this.fallback !== undefined) schema.default = this.fallback;
    return schema;
  }
}

function found(value) {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "a list";
  return { string: "a string", number: "a number", boolean: "a boolean", object: "an object" }[typeof value] ?? typeof value;
}

function expected(what, value) {
  return Object.assign(new Mismatch(`expected ${what}, found ${found(value)}`), { isOther: true });
}

function within(type, value, part) {
  try {
    return type._read(value);
  } catch (error) {
    throw error instanceof Mismatch ? error.within(part) : error;
  }
}

function bounded(value, size, unit, { min, max }) {
  if (min !== undefined && size < min) throw new Mismatch(`${unit} ${size} is less than ${min}`);
  if (max !== undefined && size > max) throw new Mismatch(`${unit} ${size} exceeds the limit of ${max}`);
  return value;
}

/** How many characters a text has, as JSON Schema counts them: a pair of surrogates is one. */
function characters(text) {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}

/** Text; `min` and `max` bound its length in characters, `pattern` is a regular expression that it matches. */
function string(options = {}) {
  const pattern = options.pattern && new RegExp(options.pattern, "u");
  const isBounded = options.min !== undefined || options.max !== undefined;
  const read = (value) => {
    if (typeof value !== "string") throw expected("a string", value);
    if (pattern && !pattern.test(value)) throw new Mismatch(`${JSON.stringify(value)} does not match ${options.pattern}`);
    return isBounded ? bounded(value, characters(value), "length", options) : value;
  };
  return new Type("string", read, () => without({ type: "string", minLength: options.min, maxLength: options.max, pattern: options.pattern }));
}

function numeric(name, what, isRight, options) {
  const read = (value) => {
    if (typeof value !== "number") throw expected(what, value);
    if (!isRight(value)) throw new Mismatch(`expected ${what}, found ${value}`);
    return bounded(value, value, "value", options);
  };
  return new Type(name, read, () => without({ type: name, minimum: options.min, maximum: options.max }));
}

/** A number; `min` and `max` bound it. */
function number(options = {}) {
  return numeric("number", "a number", Number.isFinite, options);
}

/** A whole number that is exact in JavaScript. */
function integer(options = {}) {
  return numeric("integer", "an integer", Number.isSafeInteger, options);
}

function boolean() {
  const read = (value) => {
    if (typeof value !== "boolean") throw expected("a boolean", value);
    return value;
  };
  return new Type("boolean", read, () => ({ type: "boolean" }));
}

function nothing() {
  const read = (value) => {
    if (value !== null && value !== undefined && !isEmptyObject(value)) throw expected("null", value);
    return null;
  };
  return new Type("null", read, () => ({ type: "null" }));
}

function isEmptyObject(value) {
  return typeof value === "object" && !Array.isArray(value) && Object.keys(value).length === 0;
}

/** Any JSON value. */
function any() {
  return new Type("any", (value) => value, () => ({}));
}

/** The message as it is; for whole messages only. */
function octets() {
  const read = () => {
    throw new TypeError("octets are a whole message and no part of one");
  };
  return new Type("octets", read, () => ({}), { isOctets: true });
}

function array(item, options = {}) {
  const read = (value) => {
    if (!Array.isArray(value)) throw expected("a list", value);
    bounded(value, value.length, "length", options);
    return value.map((each, index) => within(item, each, `[${index}]`));
  };
  const schema = (definitions) => without({ type: "array", items: item._describe(definitions), minItems: options.min, maxItems: options.max });
  return new Type(`ArrayOf${capital(item.name)}`, read, schema);
}

/** A copy of lists and plain objects: what one call does to a default, the next does not see. */
function copied(value) {
  if (Array.isArray(value)) return value.map(copied);
  if (value === null || typeof value !== "object" || ![Object.prototype, null].includes(Object.getPrototypeOf(value))) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, copied(each)]));
}

/** An object: `object({..})`, or with a name `object("Note", {..})`. Other members are left out. */
function object(first, second) {
  const [name, members] = typeof first === "string" ? [first, second] : ["object", first];
  const entries = Object.entries(members);
  const needsNone = entries.every(([, type]) => type.isOptional);
  const read = (value) => {
    if (value === null && needsNone) value = {};
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw expected("an object", value);
    const result = {};
    for (const [key, type] of entries) {
      const member = Object.hasOwn(value, key) ? value[key] : undefined;
      if (member !== undefined) result[key] = within(type, member, key);
      else if (!type.isOptional) throw new Mismatch(`field \`${key}\` is missing`);
      else if (type.fallback !== undefined) result[key] = copied(type.fallback);
    }
    return result;
  };
  const schema = (definitions) => {
    const required = entries.filter(([, type]) => !type.isOptional).map(([key]) => key);
    const properties = Object.fromEntries(entries.map(([key, type]) => [key, type._describe(definitions)]));
    return required.length ? { type: "object", properties, required } : { type: "object", properties };
  };
  return new Type(name, read, schema, { isNamed: name !== "object" });
}

/** An object with any keys and values of one type. */
function record(item) {
  const read = (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw expected("an object", value);
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, within(item, each, key)]));
  };
  return new Type(`RecordOf${capital(item.name)}`, read, (definitions) => ({ type: "object", additionalProperties: item._describe(definitions) }));
}

/** One of some values: strings, numbers, booleans. */
function oneOf(...values) {
  const read = (value) => {
    if (!values.includes(value)) throw new Mismatch(`${JSON.stringify(value) ?? "null"} is none of ${values.map((each) => JSON.stringify(each)).join(", ")}`);
    return value;
  };
  return new Type(`OneOf${values.map((value) => capital(String(value))).join("")}`, read, () => ({ enum: values }));
}

/** A value of one of some types; the first that fits. */
function union(...types) {
  const read = (value) => {
    const faults = [];
    for (const type of types) {
      try {
        return type._read(value);
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error;
        if (type.name !== "null") faults.push([type.name, error]);
      }
    }
    // Those that the value is meant for, as far as its kind tells.
    const near = faults.length === 1 ? faults : faults.filter(([, error]) => error.path !== "" || !error.isOther);
    if (near.length === 1) throw near[0][1];
    const why = near.map(([name, error]) => `; ${name}: ${error.text()}`).join("");
    throw new Mismatch(`expected one of ${types.map((type) => type.name).join(", ")}, found ${found(value)}${why}`);
  };
  return new Type(types.map((type) => capital(type.name)).join("Or"), read, (definitions) => ({ anyOf: types.map((type) => type._describe(definitions)) }));
}

/** A type that is made when it is first used: one that names itself. */
function lazy(name, make) {
  let made;
  const type = () => (made ??= make());
  return new Type(name, (value) => type()._read(value), (definitions) => type()._described(definitions), { isNamed: true });
}

function without(schema) {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The builder of types. */
export const t = Object.freeze({ string, number, integer, boolean, null: nothing, any, octets, array, object, record, oneOf, union, lazy });
