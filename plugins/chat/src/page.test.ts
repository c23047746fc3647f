// The page, with just as much of a browser as it asks for.

import assert from "node:assert/strict";
import { test } from "node:test";

class FakeElement {
  value = "tea";
  children: FakeElement[] = [];
  text = "";
  listeners: Record<string, (event: unknown) => void> = {};
  addEventListener(name: string, listener: (event: unknown) => void) {
    this.listeners[name] = listener;
  }
  append(...parts: (FakeElement | string)[]) {
    for (const part of parts) typeof part === "string" ? (this.text += part) : this.children.push(part);
  }
  replaceChildren() {
    this.children = [];
  }
  scrollIntoView() {}
  focus() {}
}

class FakeSocket {
  static last: any;
  sent: unknown[] = [];
  constructor() {
    FakeSocket.last = this;
  }
  send(message: string) {
    this.sent.push(JSON.parse(message));
  }
  close() {}
}

test("lines that come out of order are all shown, and each once", async () => {
  const elements = new Map<string, FakeElement>();
  const getElementById = (id: string) => elements.get(id) ?? elements.set(id, new FakeElement()).get(id);
  const browser = {
    document: { getElementById, createElement: () => new FakeElement() },
    localStorage: { getItem: () => null, setItem() {} },
    location: { href: "http://127.0.0.1/chat/" },
    WebSocket: FakeSocket,
  };
  for (const [name, value] of Object.entries(browser)) Object.defineProperty(globalThis, name, { value, configurable: true });
  await import("../page/chat.js");
  const shown = () => elements.get("lines")!.children.map(({ text }) => text);
  const take = (message: unknown) => FakeSocket.last.onmessage({ data: JSON.stringify(message) });
  const said = (id: number) => ({ type: "said", id, name: "Ada", text: `line ${id}`, at: 0 });
  const join = () => elements.get("join")!.listeners.submit({ preventDefault() {} });
  join();
  take({ id: "chat", payload: { type: "joined", room: "tea", history: [said(1), said(2)] } });
  for (const id of [2, 5, 4, 5, 3]) take({ type: "event", payload: said(id) });
  assert.deepEqual(shown(), ["line 1", "line 2", "line 5", "line 4", "line 3"]);
  join();
  take({ id: "chat", payload: { type: "joined", room: "tea", history: [said(1)] } });
  assert.deepEqual(shown(), ["line 1"]);
});
