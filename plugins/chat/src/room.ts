// What was said in a room, in the plugin's store: one key for each line, the last `LINES_MAX` of them.

import { kv, t } from "postern";
import type { Infer } from "postern";

import { Line } from "./line.ts";

export const LINES_MAX = 100;

/** Keys sort as their numbers do. */
function key(room: string, id: number): string {
  return `line/${room}/${String(id).padStart(12, "0")}`;
}

/** Adds a line and forgets the oldest one. */
export function add(room: string, name: string, text: string): Infer<typeof Line> {
  const id = kv.update(`last/${room}`, (last = 0) => last + 1, t.integer());
  const line = { id, name, text, at: Date.now() };
  kv.set(key(room, id), line);
  if (id > LINES_MAX) kv.delete(key(room, id - LINES_MAX));
  return line;
}

/** The last lines, oldest first. One whose number is given and that is not stored yet is left out. */
export function lines(room: string, limit: number): Infer<typeof Line>[] {
  const last = kv.get(`last/${room}`, t.integer()) ?? 0;
  const found = [];
  for (let id = Math.max(1, last - limit + 1); id <= last; id++) {
    const line = kv.get(key(room, id), Line);
    if (line) found.push(line);
  }
  return found;
}
