// Values to text and back, octets to text and back.

import { Failure } from "./failure.js";

let encoder;
let decoder;

/** Text that is Unicode: U+FFFD in the place of each half of a surrogate pair, as in UTF-8. The host takes no
 * other text. */
export function wellFormed(text) {
  return String(text).toWellFormed();
}

/** Octets of a text in UTF-8. */
export function encode(text) {
  encoder ??= new TextEncoder();
  return encoder.encode(text);
}

/** Text of octets. Throws `invalid-argument` when they are not UTF-8. */
export function decode(octets) {
  if (typeof octets === "string") return octets;
  decoder ??= new TextDecoder("utf-8", { fatal: true });
  try {
    return decoder.decode(octets);
  } catch {
    throw Failure.invalidArgument("the message is not UTF-8");
  }
}

/** Text of octets; `undefined` when they are not UTF-8. */
export function decodeOrNothing(octets) {
  try {
    return decode(octets);
  } catch {
    return undefined;
  }
}

/** A message as JSON; an empty one is `null`. Throws `invalid-argument`. */
export function parse(message) {
  const text = decode(message);
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw Failure.invalidArgument(`the message is no JSON: ${error.message}`);
  }
}

/** A value as JSON text; `undefined` is `null`. Throws `internal` when it has no form in JSON. */
export function stringify(value) {
  try {
    return JSON.stringify(value ?? null) ?? nothing(value);
  } catch (error) {
    throw Failure.internal(`the value has no form in JSON: ${error.message}`);
  }
}

function nothing(value) {
  throw new TypeError(`a ${typeof value} is no JSON value`);
}
