// console: lines of the gateway's log.

import { hasHost, host } from "../host.js";

const LEVELS = { trace: "trace", debug: "debug", log: "info", info: "info", dir: "info", warn: "warn", error: "error" };
const DEPTH_MAX = 4;
const ITEMS_MAX = 100;

function emit(level, values) {
  if (hasHost() && host().logEnabled(level)) host().logWrite(level, formatted(values), []);
}

/** The text of a line: `%s`, `%d`, `%i`, `%f`, `%j`, `%o`, `%O` and `%%` in a first text are filled in. */
export function formatted(values) {
  let [first, ...rest] = values;
  if (typeof first === "string" && rest.length) {
    first = first.replace(/%[sdifjoO%]/g, (mark) => {
      if (mark === "%%") return "%";
      if (rest.length === 0) return mark;
      const value = rest.shift();
      if (mark === "%d" || mark === "%f") return String(Number(value));
      if (mark === "%i") return String(Math.trunc(Number(value)));
      return mark === "%s" && typeof value !== "object" ? String(value) : inspected(value, 0, []);
    });
  }
  return [first, ...rest].map((value) => (typeof value === "string" ? value : inspected(value, 0, []))).join(" ");
}

function inspected(value, depth, parents) {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name || "without a name"}]`;
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Error) return `${value.name}: ${value.message}${value.stack ? `\n${value.stack.trimEnd()}` : ""}`;
  if (value instanceof Date) return Number.isNaN(value.valueOf()) ? "Invalid Date" : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (parents.includes(value)) return "[circular]";
  const name = value.constructor?.name ?? "";
  if (depth >= DEPTH_MAX) return `[${name || "Object"}]`;
  const inner = (item) => inspected(item, depth + 1, [...parents, value]);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return `${name === "Array" ? "" : `${name} `}[${listed(Array.from(value), inner)}]`;
  if (value instanceof Map) return `Map {${listed([...value], ([key, item]) => `${inner(key)} => ${inner(item)}`)}}`;
  if (value instanceof Set) return `Set {${listed([...value], inner)}}`;
  return `${name === "Object" || name === "" ? "" : `${name} `}{${listed(Object.entries(value), ([key, item]) => `${key}: ${inner(item)}`)}}`;
}

function listed(items, show) {
  if (items.length === 0) return "";
  const shown = items.slice(0, ITEMS_MAX).map(show);
  if (items.length > ITEMS_MAX) shown.push(`and ${items.length - ITEMS_MAX} more`);
  return ` ${shown.join(", ")} `;
}

const counts = new Map();
const times = new Map();

export const console = {
  assert(isTrue, ...values) {
    if (!isTrue) emit("error", ["assertion failed", ...values]);
  },
  count(label = "default") {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    emit("info", [`${label}: ${counts.get(label)}`]);
  },
  countReset: (label = "default") => void counts.delete(label),
  group: (...values) => emit("info", values),
  groupEnd: () => {},
  table: (value) => emit("info", [value]),
  time: (label = "default") => void times.set(label, performance.now()),
  timeEnd(label = "default") {
    if (times.has(label)) emit("info", [`${label}: ${(performance.now() - times.get(label)).toFixed(3)} ms`]);
    times.delete(label);
  },
};
for (const [name, level] of Object.entries(LEVELS)) console[name] = (...values) => emit(level, values);
