// A persistent key/value store, private to the plugin unless the manifest grants a shared one.
//
// Values are JSON, checked by a type where one is given; `getOctets` and `setOctets` are for what is
// none. Keys are 1 to 1,024 octets, values up to 1 MiB. A call that returned has been written to disk.

import { Failure } from "./failure.js";
import { host } from "./host.js";
import { encode, stringify } from "./json.js";
import { t } from "./schema.js";

const TRIES_MAX = 100;
const ANY = t.any();

/** The value; `undefined` where there is none. Throws `data-loss` when it is of another type. */
export function get(key, type = ANY) {
  const stored = host().kvGetText(key);
  return stored === undefined ? undefined : read(key, stored, type);
}

/** Puts a value in the place of the one before. */
export const set = (key, value) => host().kvSet(key, stringify(value));

/** Takes a key away. Whether there was such a key. */
export const remove = (key) => host().kvDelete(key);
export { remove as delete };

/** Sets a key that is absent, in one step. Whether it was absent. */
export const insert = (key, value) => host().kvSwap(key, undefined, encode(stringify(value)));

/** Reads, changes and writes in one step; gives what was written. `change` gets the value or `undefined`
 * and gives the new one, `undefined` to delete the key. It may be called again when somebody else was
 * faster; throws `aborted` after 100 tries. */
export function update(key, change, type = ANY) {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const before = host().kvGet(key);
    const after = change(before === undefined ? undefined : read(key, before, type));
    if (host().kvSwap(key, before, after === undefined ? undefined : encode(stringify(after)))) return after;
  }
  throw Failure.aborted(`key \`${key}\` was changed by others ${TRIES_MAX} times`);
}

/** Up to `limit` (at most 1,000) keys that begin with `prefix` and come after `after`, in order. */
export const keys = (prefix = "", { after, limit = 1000 } = {}) => host().kvKeys(prefix, after, limit);

/** The value as it was stored. */
export const getOctets = (key) => host().kvGet(key);

/** Stores octets, or text, as they are. */
export const setOctets = (key, value) => host().kvSet(key, value);

/** Sets or deletes (`value` undefined) the key if its value is `expected` (undefined: absent). */
export const swapOctets = (key, expected, value) => host().kvSwap(key, expected, value);

function read(key, stored, type) {
  try {
    return type.parseMessage(stored);
  } catch (error) {
    throw Failure.dataLoss(`the value of key \`${key}\` cannot be read: ${error.message}`);
  }
}
