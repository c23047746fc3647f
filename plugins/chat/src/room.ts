// What was said in a room, in the plugin's store: one key for each line, the last `LINES_MAX` of them.

import { Failure, kv, t } from "postern";
import type { Infer } from "postern";

import { Line } from "./line.ts";

export const LINES_MAX = 100;
/** Rooms in which something was said; as many keys are listed at once. */
export const ROOMS_MAX = 1000;

/** Keys sort as their numbers do. */
function key(room: string, id: number): string {
  return `line/${room}/${String(id).padStart(12, "0")}`;
}

/** Adds a line and forgets the oldest one. Fails with `resource-exhausted` where the room would be one too many. */
export function add(room: string, name: string, text: string): Infer<typeof Line> {
  checkRooms(room);
  const id = kv.update(`last/${room}`, (last = 0) => last + 1, t.integer());
  const line = { id, name, text, at: Date.now() };
  kv.set(key(room, id), line);
  if (id > LINES_MAX) kv.delete(key(room, id - LINES_MAX));
  return line;
}

/** Callers choose the names of rooms, and their lines are kept for good. */
function checkRooms(room: string) {
  if (kv.get(`last/${room}`) !== undefined) return;
  if (kv.keys("last/", { limit: ROOMS_MAX }).length < ROOMS_MAX) return;
  throw Failure.resourceExhausted(`room \`${room}\` is new, and there are ${ROOMS_MAX} rooms, which is the limit: choose one that exists`);
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
