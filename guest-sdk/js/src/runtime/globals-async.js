// The globals of a component with the role `async-stream-handler`: those of `index.js` but for promises, which
// are the engine's own, and timers, for which such a component has no clock that can be awaited.

import { structuredClone } from "./clone.js";
import { console } from "./console.js";
import { crypto, random, setSource } from "./random.js";
import { TextDecoder, TextEncoder } from "./text.js";
import { URL } from "./url.js";
import { URLSearchParams } from "./url-search-params.js";

function absent(name) {
  return () => {
    throw new Error(`${name} is not there in a component with asyncStreamHandler: it has no clock to wait for`);
  };
}

const GLOBALS = {
  TextDecoder,
  TextEncoder,
  URL,
  URLSearchParams,
  console,
  crypto,
  queueMicrotask: (run) => {
    if (typeof run !== "function") throw new TypeError("a microtask is a function");
    Promise.resolve().then(run);
  },
  setImmediate: absent("setImmediate"),
  setInterval: absent("setInterval"),
  setTimeout: absent("setTimeout"),
  structuredClone,
};

/** Puts the globals in place: the first module of a component. */
export function installAsync() {
  for (const [name, value] of Object.entries(GLOBALS)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
  globalThis.self ??= globalThis;
}

/** Gives the globals their host. Until then, while modules are evaluated, `Math.random` is the engine's. */
export function connectAsync(randomOctets) {
  setSource(randomOctets);
  Math.random = random;
}
