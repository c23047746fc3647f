// The page, with just as much of a browser as it asks for.

import assert from "node:assert/strict";
import { test } from "node:test";

class FakeElement {
  value = "";
  children = [];
  listeners = {};
  textContent = "";
  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }
  append(...children) {
    this.children.push(...children);
  }
  replaceChildren(...children) {
    this.children = children;
  }
  focus() {}
}

const CATALOGUE = {
  services: [
    { name: "users", version: "1.0.0", summary: "Users.", methods: [{ name: "GetUser", summary: "Finds a user.", kind: "unary" }, { name: "Watch", kind: "server-stream" }] },
    { name: "a b", methods: [{ name: "x/y" }, { name: "*" }] },
  ],
};

test("services are listed, and a method that is chosen is called with the message", async () => {
  const elements = new Map();
  const element = (id) => elements.get(id) ?? elements.set(id, new FakeElement()).get(id);
  const asked = [];
  const answers = [
    { ok: true, status: 200, text: async () => JSON.stringify(CATALOGUE) },
    { ok: true, status: 200, text: async () => '{"name":"Ada"}' },
    { ok: false, status: 404, text: async () => "no JSON" },
  ];
  const browser = {
    document: { getElementById: element, createElement: () => new FakeElement() },
    location: { host: "127.0.0.1:8080" },
    fetch: async (...request) => {
      asked.push(request);
      return answers.shift();
    },
  };
  for (const [name, value] of Object.entries(browser)) Object.defineProperty(globalThis, name, { value, configurable: true });
  await import("./page/page.js");
  await new Promise((done) => setTimeout(done));
  assert.equal(element("state").textContent, "2 at 127.0.0.1:8080");
  const buttons = element("services").children.map(({ children }) => children.slice(2));
  assert.deepEqual(buttons.flat().map((button) => [button.textContent, button.disabled]), [["GetUser", false], ["Watch", true], ["x/y", false], ["*", true]]);

  const call = async (button, message) => {
    button.listeners.click();
    element("message").value = message;
    await element("call").listeners.submit({ preventDefault() {} });
  };
  await call(buttons[0][0], '{"id":"7"}');
  assert.deepEqual(asked[1], ["/v1/services/users/GetUser", { method: "POST", headers: { "content-type": "application/json" }, body: '{"id":"7"}' }]);
  assert.match(element("reply").textContent, /^200, [\d.]+ ms\n\{\n {2}"name": "Ada"\n\}$/);
  assert.equal(element("call").hidden, false);
  await call(buttons[1][0], "{}");
  assert.equal(asked[2][0], "/v1/services/a%20b/x%2Fy");
  assert.deepEqual([element("reply").className, element("reply").textContent.split("\n")[1]], ["failed", "no JSON"]);
});
