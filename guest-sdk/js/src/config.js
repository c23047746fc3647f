// The table `config` of the plugin's manifest.

import { Failure } from "./failure.js";
import { host } from "./host.js";

/** A value as the type says, text without one; `undefined` where the key is absent. */
export function get(key, type) {
  const text = host().configGet(key);
  return text === undefined ? undefined : read(key, text, type);
}

/** The same for a key that has to be there. Throws `failed-precondition` when it is not. */
export function require(key, type) {
  const text = host().configGet(key);
  if (text === undefined) throw Failure.failedPrecondition(`config key \`${key}\` is missing`);
  return read(key, text, type);
}

/** All keys and values in the order of their keys: text as it is, everything else as JSON. */
export const all = () => Object.fromEntries(host().configAll());

function read(key, text, type) {
  if (type === undefined) return text;
  const faults = [];
  for (const make of [() => JSON.parse(text), () => text]) {
    try {
      return type.parse(make());
    } catch (error) {
      if (error instanceof Failure) faults.push(error.message);
    }
  }
  throw Failure.failedPrecondition(`config key \`${key}\` has value \`${text}\`, not ${type.name}: ${faults[0]}`);
}
