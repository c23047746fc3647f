// structuredClone of what a handler has: values, containers, dates, errors, buffers.

const TYPED = Object.getPrototypeOf(Uint8Array);

/** A deep copy that keeps cycles and shared parts. Throws a DataCloneError for functions and symbols. */
export function structuredClone(value) {
  return copy(value, new Map());
}

function copy(value, seen) {
  if (typeof value === "function" || typeof value === "symbol") throw refused(value);
  if (typeof value !== "object" || value === null) return value;
  if (seen.has(value)) return seen.get(value);
  const keep = (made) => {
    seen.set(value, made);
    return made;
  };
  if (value instanceof Date) return keep(new Date(value));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (value instanceof TYPED) return keep(new value.constructor(copy(value.buffer, seen), value.byteOffset, value.length));
  if (value instanceof DataView) return keep(new DataView(copy(value.buffer, seen), value.byteOffset, value.byteLength));
  if (value instanceof Boolean || value instanceof Number || value instanceof String) return keep(Object(value.valueOf()));
  if (value instanceof Map) return copyMap(value, keep(new Map()), seen);
  if (value instanceof Set) return copySet(value, keep(new Set()), seen);
  if (value instanceof Error) return copyError(value, seen, keep);
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) throw refused(value);
  const made = keep(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) made[key] = copy(value[key], seen);
  return made;
}

function copyMap(from, to, seen) {
  for (const [key, value] of from) to.set(copy(key, seen), copy(value, seen));
  return to;
}

function copySet(from, to, seen) {
  for (const value of from) to.add(copy(value, seen));
  return to;
}

function copyError(error, seen, keep) {
  const names = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const made = keep(Object.create((names[error.name] ?? Error).prototype));
  for (const key of ["message", "stack", "cause"]) {
    if (Object.hasOwn(error, key)) Object.defineProperty(made, key, { value: copy(error[key], seen), writable: true, configurable: true });
  }
  return made;
}

function refused(value) {
  const text = `${typeof value === "object" ? value.constructor?.name : typeof value} could not be cloned`;
  return typeof DOMException === "function" ? new DOMException(text, "DataCloneError") : new TypeError(text);
}
