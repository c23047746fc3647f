// Lines in the gateway's log, with the plugin's and the call's names already on them.

import { host } from "./host.js";

export const LEVELS = Object.freeze(["trace", "debug", "info", "warn", "error"]);

/** Whether a line of this level would be kept. Ask before building an expensive message. */
export const enabled = (level) => host().logEnabled(level);

/** Writes a line. A function in the place of a message is called only when the line is kept. */
export function write(level, message, fields) {
  const to = host();
  if (!to.logEnabled(level)) return;
  const text = typeof message === "function" ? message() : message;
  const pairs = Object.entries(fields ?? {}).map(([name, value]) => [name, typeof value === "string" ? value : shown(value)]);
  to.logWrite(level, String(text), pairs);
}

function shown(value) {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

export const trace = (message, fields) => write("trace", message, fields);
export const debug = (message, fields) => write("debug", message, fields);
export const info = (message, fields) => write("info", message, fields);
export const warn = (message, fields) => write("warn", message, fields);
export const error = (message, fields) => write("error", message, fields);
