// Timers that run within the call, and what drives promises to their end.

import { Failure } from "../failure.js";
import { isThenable } from "../then.js";
import { Promise, enqueue, outcomeOf, runJobs } from "./promise.js";

/** Longest delay of a timer in milliseconds, as in browsers. */
const DELAY_MAX = 2 ** 31 - 1;

let timers = [];
let lastId = 0;
let sleep = () => {};

/** Says how to wait: a function of milliseconds. */
export function setSleep(wait) {
  sleep = wait;
}

function add(run, delay, values, interval) {
  if (typeof run !== "function") throw new TypeError("a timer runs a function");
  const wait = Math.min(Math.max(Number(delay) || 0, 0), DELAY_MAX);
  const timer = { id: ++lastId, at: Date.now() + wait, run: () => run(...values), interval: interval ? Math.max(wait, 1) : undefined };
  insert(timer);
  return timer.id;
}

/** Behind those of the same time. */
function insert(timer) {
  let index = timers.length;
  while (index > 0 && timers[index - 1].at > timer.at) index--;
  timers.splice(index, 0, timer);
}

export const setTimeout = (run, delay, ...values) => add(run, delay, values, false);
export const setInterval = (run, delay, ...values) => add(run, delay, values, true);
export const setImmediate = (run, ...values) => add(run, 0, values, false);

export function clearTimeout(id) {
  timers = timers.filter((timer) => timer.id !== id);
}

/** Whether timers wait. */
export function hasTimers() {
  return timers.length > 0;
}

/** Forgets the timers that a call has left behind, and gives how many there were. */
export function clearAll() {
  const count = timers.length;
  timers = [];
  return count;
}

export function queueMicrotask(run) {
  if (typeof run !== "function") throw new TypeError("a microtask is a function");
  enqueue(run);
}

/** The value of a promise: runs jobs and timers until it is settled. What is none is given back.
 * Throws what it was rejected with, and a Failure when nothing is left that could settle it. */
export function settle(promise) {
  if (!isThenable(promise)) return promise;
  // One of another make is followed by one of ours.
  const followed = promise instanceof Promise ? promise : Promise.resolve(promise);
  for (;;) {
    runJobs();
    const outcome = outcomeOf(followed);
    if (outcome?.isFulfilled) return outcome.value;
    if (outcome) throw outcome.value;
    const timer = timers.shift();
    if (!timer) throw Failure.internal("the promise never settles: nothing is left to run that could settle it");
    const wait = timer.at - Date.now();
    if (wait > 0) sleep(wait);
    if (timer.interval !== undefined) insert({ ...timer, at: Date.now() + timer.interval });
    timer.run();
  }
}
