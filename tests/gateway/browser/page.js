// A page that calls a gateway of another origin by all that a browser has, and tells what it has seen.

import { Calls } from "./calls.js";
import { api, opened, run, tell } from "./tell.js";
import { Session } from "./vstp.js";

const N_SWAPS = 10;
// More than the credit that a call begins with, and than a window.
const N_ITEMS = 100, ITEM_BYTES = 10_000;

// A call by `fetch`, which the browser asks about before: its content type is none of a form.
async function calledByFetch() {
  const response = await fetch(`https://${api}/v1/services/echo/Echo`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-correlation-id": "of-the-page" },
    body: JSON.stringify({ text: "grüße" }),
  });
  const body = await response.json();
  const correlation = response.headers.get("x-correlation-id");
  return { status: response.status, body, correlation };
}

// What failed is as readable as what did not.
async function failedByFetch() {
  const response = await fetch(`https://${api}/v1/services/nobody/Echo`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const kind = response.headers.get("x-postern-error");
  return { status: response.status, kind, body: await response.json() };
}

// Lines of a reply as they come.
async function streamedByFetch() {
  const lines = Array.from({ length: 1000 }, (_, n) => JSON.stringify({ n }));
  const response = await fetch(`https://${api}/v1/services/echo/EchoStream`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: lines.join("\n") + "\n",
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let piece; !(piece = await reader.read()).done; ) text += piece.value;
  const seen = text.split("\n").filter((line) => line !== "");
  const isSame = seen.length === lines.length && seen.every((line, n) => line === lines[n]);
  return { status: response.status, n_lines: seen.length, isSame };
}

// Each answer comes before the next question is asked.
async function streamedAsJson(calls) {
  calls.send({ type: "open", id: "stream", method: "EchoStream" });
  let begin = "", n_items = 0;
  for (; n_items < N_ITEMS; n_items++) {
    calls.send({ type: "item", id: "stream", payload: { n: n_items } });
    let answer = await calls.next("stream");
    if (n_items === 0) {
      begin = answer.type;
      answer = await calls.next("stream");
    }
    if (answer.type !== "item" || answer.payload.n !== n_items) {
      throw new Error(`item ${n_items}: ${JSON.stringify(answer)}`);
    }
  }
  calls.send({ type: "end", id: "stream" });
  const end = await calls.next("stream");
  return { begin, n_items, end: end.type };
}

// Both directions flow at once, and more than credit and windows hold.
async function streamedAsFrames(session) {
  const stream = session.stream("echo", "EchoStream");
  const item = (n) => new Uint8Array(ITEM_BYTES).fill(n % 251);
  const sending = (async () => {
    for (let n = 0; n < N_ITEMS; n++) await stream.send(item(n));
    stream.end();
  })();
  let n_items = 0, n_bytes = 0;
  for (let payload; (payload = await stream.receive()) !== null; n_items++) {
    if (payload.some((octet) => octet !== n_items % 251)) throw new Error(`item ${n_items} differs`);
    n_bytes += payload.length;
  }
  await sending;
  return { n_items, n_bytes };
}

await run("page", async () => {
  const finding = {
    fetch: await calledByFetch(),
    failure: await failedByFetch(),
    lines: await streamedByFetch(),
  };
  const closed = [];
  const keep = (name, socket) => {
    socket.addEventListener("close", ({ code }) => closed.push(`${name} ${code}`));
    return opened(socket);
  };
  const text = await keep("calls", new WebSocket(`wss://${api}/ws/echo/Echo`, "vstp.json"));
  const octets = await keep("session", new WebSocket(`wss://${api}/vstp`, "vstp"));
  const calls = new Calls(text), session = new Session(octets);
  finding.protocols = [text.protocol, octets.protocol];
  finding.extensions = [text.extensions, octets.extensions];
  finding.welcome = await session.hello();
  finding.json = await streamedAsJson(calls);
  finding.frames = await streamedAsFrames(session);
  finding.swaps = [];
  for (let n = 1; n <= N_SWAPS; n++) {
    // Answered once the plugin is another.
    await tell("swap", { n });
    calls.send({ id: `swap-${n}`, payload: n });
    const [{ payload }, answer] = [
      await calls.next(`swap-${n}`),
      await session.call("echo", "Echo", String(n)),
    ];
    finding.swaps.push([payload, answer]);
  }
  // Streams go as well over what is open since the first plugin.
  finding.after = await streamedAsFrames(session);
  finding.closed = [...closed];
  const ended = Promise.all([text, octets].map((socket) =>
    new Promise((resolve) => socket.addEventListener("close", ({ code }) => resolve(code)))));
  text.close(1000);
  session.bye();
  finding.codes = await ended;
  return finding;
});
