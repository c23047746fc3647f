// What the globals of a component stand on, in every world: octets of chance, and waiting.

import { connect } from "./runtime/index.js";

/** Gives the globals the modules `wasi:random/random` and `wasi:clocks/monotonic-clock`. */
export function connectWasi({ random, monotonicClock }) {
  connect({ randomOctets: (count) => random.getRandomBytes(count), sleep: (ms) => sleep(monotonicClock, ms) });
}

/** Waits without computing, as long as the host lets it. */
function sleep(clock, ms) {
  const pollable = clock.subscribeDuration(Math.round(ms * 1e6));
  try {
    pollable.block();
  } finally {
    pollable[Symbol.dispose]?.();
  }
}
