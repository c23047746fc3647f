// Values that may be promises. A test waits for them as everybody does; a component cannot, and runs them
// to their end where they are met.

let settle;

/** Says how promises are run to their end: a function that gives the value or throws. */
export function setSettle(run) {
  settle = run;
}

/** Whether promises are run to their end. */
export function isSettling() {
  return settle !== undefined;
}

/** Whether something is a promise, of whatever make. */
export function isThenable(value) {
  return value !== null && typeof value === "object" && typeof value.then === "function";
}

/** The value of a promise that is run to its end; what is none, or is waited for, stays what it is. */
export function settled(value) {
  return settle !== undefined && isThenable(value) ? settle(value) : value;
}

/** Goes on with a value, at once where it is none that is promised. */
export function then(value, next) {
  const found = settled(value);
  return isThenable(found) ? found.then(next) : next(found);
}

/** Runs and turns what it throws, now or later. */
export function guard(run, turn) {
  let value;
  try {
    value = settled(run());
  } catch (error) {
    throw turn(error);
  }
  if (!isThenable(value)) return value;
  return value.then(undefined, (error) => {
    throw turn(error);
  });
}
