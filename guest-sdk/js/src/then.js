// Values that may be promises.

/** Whether something is a promise, of whatever make. */
export function isThenable(value) {
  return value !== null && typeof value === "object" && typeof value.then === "function";
}

/** Goes on with a value, at once where it is none that is promised. */
export function then(value, next) {
  return isThenable(value) ? value.then(next) : next(value);
}

/** Runs and turns what it throws, now or later. */
export function guard(run, turn) {
  let value;
  try {
    value = run();
  } catch (error) {
    throw turn(error);
  }
  if (!isThenable(value)) return value;
  return value.then(undefined, (error) => {
    throw turn(error);
  });
}
