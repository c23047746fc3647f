// Rooms to talk in. Who joins gets what was said before, sends lines, and is told of each that it was
// taken. What others say comes as events of the topic `chat.ROOM`.

import { Failure, bidirectional, call, config, events, kv, log, method, service, t } from "postern";
import type { Incoming, Infer } from "postern";

import { LINES_MAX, add, lines } from "./room.ts";
import { Line } from "./line.ts";

const Room = t.string({ pattern: "^[a-z0-9-]{1,40}$" });
const Name = t.string({ min: 1, max: 40 });
const Text = t.string({ min: 1, max: 1000 });

const Hello = t.object("Hello", { room: Room, name: Name });
const Said = t.object("Said", { text: Text });
const FromCaller = t.union(Hello, Said).named("FromCaller");
const Joined = t.object("Joined", { type: t.oneOf("joined"), room: Room, history: t.array(Line) });
const Taken = t.object("Taken", { type: t.oneOf("taken"), id: t.integer(), readers: t.integer() });
const ToCaller = t.union(Joined, Taken).named("ToCaller");
const Asked = t.object("Asked", { room: Room, limit: t.integer({ min: 1, max: LINES_MAX }).default(20) });
const History = t.object("History", { lines: t.array(Line) });

async function* join(messages: Incoming<Infer<typeof FromCaller>>): AsyncGenerator<Infer<typeof ToCaller>> {
  let joined: Infer<typeof Hello> | undefined;
  try {
    for await (const message of messages) {
      if ("room" in message) {
        if (joined) throw Failure.failedPrecondition(`this call is in room \`${joined.room}\` already`);
        joined = { room: message.room, name: call.principal()?.name ?? message.name };
        tell(joined.room, { id: 0, name: joined.name, text: "", at: Date.now(), type: "joined" });
        yield { type: "joined", room: joined.room, history: lines(joined.room, shown()) };
      } else {
        if (!joined) throw Failure.failedPrecondition("the first message names room and name");
        const line = add(joined.room, joined.name, message.text);
        yield { type: "taken", id: line.id, readers: tell(joined.room, { ...line, type: "said" }) };
      }
    }
  } finally {
    if (joined) left(joined);
  }
}

/** Told as far as the gateway still lets: the caller may be gone, and the time over. */
function left({ room, name }: Infer<typeof Hello>) {
  try {
    tell(room, { id: 0, name, text: "", at: Date.now(), type: "left" });
  } catch (error) {
    log.debug("nobody is told who left", { room, name, error });
  }
}

function tell(room: string, event: Infer<typeof Line> & { type: "said" | "joined" | "left" }): number {
  return events.publish(`chat.${room}`, event);
}

function shown(): number {
  return config.get("history", t.integer({ min: 1, max: LINES_MAX })) ?? 20;
}

export const chat = service({
  name: "chat",
  version: "1.0.0",
  summary: "Rooms to talk in.",
  methods: {
    join: bidirectional({ input: FromCaller, output: ToCaller, summary: "Joins a room: first `{room, name}`, then lines `{text}`." }, join),
    history: method({ input: Asked, output: History, idempotent: true, summary: "What was said last." }, ({ room, limit }) => ({ lines: lines(room, limit) })),
  },
});
