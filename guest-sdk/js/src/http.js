// Components of `wasi:http`: what stands between a project's handler and its host, which may be any. The
// project sees nothing of it but the globals.

import { putHost } from "./host.js";
import { encode } from "./json.js";
import { hasJobs, runJobs } from "./runtime/promise.js";
import { clearAll, settle } from "./runtime/timers.js";
import { setSettle, settled } from "./then.js";
import { connectWasi } from "./wasi.js";

/** Octets that a host takes in one write that waits. */
const WRITE_BYTES_MAX = 4096;

/** The project's `incomingHandler`, which may be async, and of which an exception costs its request alone: the
 * host answers for it, and the stack is on standard error. */
export function handlerOf({ incomingHandler }, modules) {
  if (typeof incomingHandler?.handle !== "function") throw new TypeError("the project exports no `incomingHandler` with a function `handle`");
  let isEntered = false;

  function enter() {
    isEntered = true;
    setSettle(settle);
    connectWasi(modules);
    // For `console`.
    putHost({ logEnabled: () => true, logWrite: (level, message) => print(modules.stderr, `${level}: ${message}\n`) });
  }

  return {
    handle(request, out) {
      if (!isEntered) enter();
      guarded(() => settled(incomingHandler.handle(request, out)), () => out[Symbol.dispose]?.());
      while (hasJobs()) guarded(runJobs);
      clearAll();
    },
  };
}

function guarded(run, then) {
  try {
    run();
  } catch (error) {
    console.error(error);
    then?.();
  }
}

function print({ getStderr }, text) {
  const stream = getStderr();
  try {
    const octets = encode(text);
    for (let at = 0; at < octets.length; at += WRITE_BYTES_MAX) stream.blockingWriteAndFlush(octets.subarray(at, at + WRITE_BYTES_MAX));
  } finally {
    stream[Symbol.dispose]?.();
  }
}
