// One line of a room.

import { t } from "postern";

export const Line = t.object("Line", {
  id: t.integer().describe("Counts up within a room, from 1."),
  name: t.string(),
  text: t.string(),
  at: t.integer().describe("Milliseconds since 1970."),
});
