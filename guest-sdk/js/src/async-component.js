// The seam to the real host for the role `async-stream-handler`. The engine of such a component runs the
// jobs of its own promises, so that nothing is compiled away and nothing is run to its end by the SDK.

import * as asyncStream from "./async-stream.js";
import * as entry from "./entry.js";
import { ComponentHost, raised, wit } from "./component.js";
import { putHost } from "./host.js";
import { Failure } from "./failure.js";
import { connectAsync } from "./runtime/globals-async.js";

/** The roles that such a component exports, linked to the modules of its world. */
export function link(modules) {
  const { asyncCall, random } = modules;
  const host = new ComponentHost(modules);
  let isOctets = false;
  const setOctets = host.setOctets;
  Object.assign(host, {
    setOctets() {
      setOctets();
      isOctets = true;
    },
    repliesInOctets: () => isOctets,
    fail: (failure) => asyncCall.fail(wit(failure)),
    requestFailure() {
      const failure = asyncCall.requestFailure();
      return failure === null || failure === undefined ? undefined : raised({ payload: failure });
    },
  });
  let isEntered = false;

  function enter() {
    if (isEntered) return;
    isEntered = true;
    putHost(host);
    connectAsync((count) => random.getRandomBytes(count));
  }

  return {
    asyncStreamHandler: {
      async handleAsync(service, method, request) {
        enter();
        isOctets = false;
        return asyncStream.answer(service, method, request[Symbol.asyncIterator]());
      },
    },
    health: {
      check() {
        enter();
        const report = entry.check();
        if (typeof report?.then === "function") throw wit(Failure.internal("a health function of this component is not async"));
        return { status: report.status, message: report.message ?? null };
      },
    },
  };
}
