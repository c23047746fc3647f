// The gateway's own catalogue, and calls of what is in it, by the HTTP that everybody has.

const element = (id) => document.getElementById(id);
const made = (name, text, children = []) => {
  const node = document.createElement(name);
  node.textContent = text;
  node.append(...children);
  return node;
};
/** Service and method. */
let target;

/** What the gateway answers as JSON; its failures are JSON as well. */
async function ask(path, options) {
  const begin = performance.now();
  const response = await fetch(path, options);
  const text = await response.text();
  let value = text;
  try {
    value = JSON.parse(text);
  } catch {
    // Octets that are no JSON are shown as text.
  }
  return { ok: response.ok, status: response.status, value, ms: performance.now() - begin };
}

/** Methods of many messages are listed and not called: that is what WebSocket is for. */
function shown({ name, version, summary, methods = [] }) {
  const heading = made("h2", name, version ? [made("small", ` ${version}`)] : []);
  const buttons = methods.map((method) => {
    const button = made("button", method.name);
    button.title = method.summary ?? "";
    button.disabled = method.name === "*" || (method.kind ?? "unary") !== "unary";
    button.addEventListener("click", () => choose([name, method.name]));
    return button;
  });
  return made("section", "", [heading, made("p", summary ?? ""), ...buttons]);
}

function choose(chosen) {
  target = chosen;
  element("target").textContent = chosen.join("/");
  element("reply").textContent = "";
  element("call").hidden = false;
  element("message").focus();
}

element("call").addEventListener("submit", async (event) => {
  event.preventDefault();
  const reply = element("reply");
  reply.className = "";
  reply.textContent = "…";
  try {
    const { ok, status, value, ms } = await ask(`/v1/services/${target.map(encodeURIComponent).join("/")}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: element("message").value,
    });
    reply.className = ok ? "" : "failed";
    reply.textContent = `${status}, ${ms.toFixed(1)} ms\n${typeof value === "string" ? value : JSON.stringify(value, null, 2)}`;
  } catch (error) {
    reply.className = "failed";
    reply.textContent = String(error);
  }
});

async function list() {
  const { ok, status, value } = await ask("/v1/services");
  if (!ok) {
    element("state").textContent = `${status}: ${value.error ?? value}`;
    return;
  }
  element("state").textContent = `${value.services.length} at ${location.host}`;
  element("services").replaceChildren(...value.services.map(shown));
}

list().catch((error) => (element("state").textContent = String(error)));
