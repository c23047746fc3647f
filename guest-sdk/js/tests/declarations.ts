// What the declarations accept and refuse: `tsc -p tests`. A line below `@ts-expect-error` has to be refused.

import { Failure, asyncStreamHandler, bidirectional, clientStream, config, directory, eventHandler, frameExtension, kv, metrics, method, requestInterceptor, serverStream, service, t } from "postern";
import type { Incoming, Infer, InferInput, Type } from "postern";
import { Host } from "postern/testing";

const Note = t.object("Note", { key: t.string(), size: t.integer().default(1), tag: t.string().optional() });

export const whole: Infer<typeof Note> = { key: "a", size: 1 };
export const asked: InferInput<typeof Note> = { key: "a" };
// @ts-expect-error a member with a default is always there when it is read
export const short: Infer<typeof Note> = { key: "a" };

method({ input: Note, output: Note }, ({ key }) => ({ key }));
method({ input: Note, output: Note }, async ({ key, size, tag }) => ({ key, size: size + 1, tag: tag?.toUpperCase() }));
// @ts-expect-error a number is no string
method({ input: Note, output: Note }, () => ({ key: 7 }));
// @ts-expect-error the member may be absent
method({ input: Note }, (note) => note.tag.length);
method({ input: t.octets(), output: t.octets() }, (octets: Uint8Array) => octets.slice());

serverStream({ input: t.integer(), output: t.integer() }, function* (to) {
  for (let value = 0; value < to; value++) yield value;
});
// @ts-expect-error a number is no iterable
serverStream({ input: t.integer(), output: t.integer() }, (to) => to);
clientStream({ input: Note, output: t.integer() }, async (notes: Incoming<Infer<typeof Note>>) => {
  let sum = 0;
  for await (const { size } of notes) sum += size;
  return sum;
});
bidirectional({ input: t.string(), output: t.string() }, async function* (lines) {
  for await (const line of lines) yield line.toUpperCase();
});

// @ts-expect-error there is no such kind
export const wrong = new Failure("wrong");
export const limit: number | undefined = config.get("limit", t.integer());
export const word: string | undefined = config.get("word");
export const counted: number = kv.update("n", (n = 0) => n + 1, t.integer());
export const one: "a" | 1 = t.oneOf("a", 1).parse("a");
export const several: string | number | null = t.union(t.string(), t.number().nullable()).parse(1);

interface Tree {
  name: string;
  children: Tree[];
}
export const Tree: Type<Tree> = t.lazy("Tree", () => t.object({ name: t.string(), children: t.array(Tree) }));

metrics.increase("jobs", 1, { queue: "mail" });
// @ts-expect-error a value is a number
metrics.set("backlog", "5");
export const zones: (string | undefined)[] = directory.discover("users").instances.map(({ zone }) => zone);
export const changed: string | undefined = directory.watch("users").next(100)?.revision;

export const query: string = new URL("http://a.example/?q=1").searchParams.get("q") ?? "";
eventHandler(async (event) => console.log(event.topic, event.json(Note).size));
asyncStreamHandler(async function* (service, method, request) {
  yield `${service}/${method}`;
  for await (const { key } of request.json(Note)) yield key;
});
// @ts-expect-error a message is text or octets
asyncStreamHandler(async function* () {
  yield 7;
});
requestInterceptor((request) => {
  request.setHeader("x-mark", "edge");
  // @ts-expect-error a header is text
  request.setHeader("x-mark", 7);
});

frameExtension(() => ({
  shouldHandle: ({ kind, payloadBytes }) => kind === "data" && payloadBytes > 0,
  handleFrame: (frame) => (frame.header("x") ? "drop" : undefined),
}));
// @ts-expect-error a verdict is "pass", "drop" or nothing
frameExtension(() => ({ shouldHandle: () => true, handleFrame: () => "forget" }));

const things = service({ name: "things", methods: { put: method({ input: Note }, () => {}), double: (value: number) => value * 2 } });
export async function called(host: Host): Promise<number> {
  await host.call(things, "Put", { key: "a" });
  // @ts-expect-error a service is given itself, and not its name
  await host.call("things", "Put");
  return host.balancing([{ id: "a" }]).pick(7) ?? -1;
}
export const streamed = (host: Host): Promise<Uint8Array[]> => host.asyncStream("things", "All", [{ key: "a" }]);
