// What handlers expect to find: the globals that the engine of a component lacks. Loaded before
// everything else of the component.

import { structuredClone } from "./clone.js";
import { console } from "./console.js";
import { Promise } from "./promise.js";
import { crypto, random, setSource } from "./random.js";
import { TextDecoder, TextEncoder } from "./text.js";
import { clearTimeout, queueMicrotask, setImmediate, setInterval, setSleep, setTimeout } from "./timers.js";
import { URL } from "./url.js";
import { URLSearchParams } from "./url-search-params.js";

const GLOBALS = {
  Promise,
  TextDecoder,
  TextEncoder,
  URL,
  URLSearchParams,
  clearImmediate: clearTimeout,
  clearInterval: clearTimeout,
  clearTimeout,
  console,
  crypto,
  queueMicrotask,
  setImmediate,
  setInterval,
  setTimeout,
  structuredClone,
};

/** Puts the globals in place. */
export function install() {
  for (const [name, value] of Object.entries(GLOBALS)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
  globalThis.self ??= globalThis;
}

/** Gives the globals their host: octets of chance, and how to wait for so many milliseconds. Until then,
 * while modules are evaluated, `Math.random` is the engine's. */
export function connect({ randomOctets, sleep }) {
  setSource(randomOctets);
  setSleep(sleep);
  Math.random = random;
}
