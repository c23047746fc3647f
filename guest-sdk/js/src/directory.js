// Who answers for a service, and what changes there. The manifest grants services: `[grants] directory = ["users"]`,
// where `*` is every one.
//
// Waiting counts as time of a unary call and not as time of a stream: a watch that goes on belongs into a streaming
// method. Entries that ask for permissions are found while a call is answered whose caller has one of them. Every
// function throws `permission-denied` without a grant, `unavailable` where the gateway has no directory, and
// `out-of-range` for more than 4 MiB.

import { host } from "./host.js";

const TIMEOUT_MAX = 2 ** 32 - 1;

/** The instances of a service, in the order of ids; none when nobody answers for it. */
export const discover = (service) => host().directoryDiscover(service);

/** Waits until the instances of a service are others than those of `revision`, for `timeout` milliseconds at the most;
 * `undefined` when they are still the same, and a little before the call's own time is over. */
export function nextChange(service, revision, timeout) {
  return host().directoryNextChange(service, revision, Math.min(Math.max(Math.trunc(timeout) || 0, 0), TIMEOUT_MAX));
}

/** The listings of one service, one after the other. */
export class Watch {
  #service;
  #revision;

  constructor(service) {
    this.#service = service;
  }

  /** The first listing at once, each further one when it is another than the one before; `undefined` when none was
   * within `timeout` milliseconds. */
  next(timeout) {
    const listing = this.#revision === undefined ? discover(this.#service) : nextChange(this.#service, this.#revision, timeout);
    if (listing) this.#revision = listing.revision;
    return listing;
  }
}

/** Watches a service. */
export const watch = (service) => new Watch(service);
