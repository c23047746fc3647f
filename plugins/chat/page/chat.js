// One WebSocket to the gateway: a subscription to the room's events, and the call `chat/Join` with lines
// one way and what became of them the other.

const element = (id) => document.getElementById(id);
const room = () => element("room").value;
let socket;
/** Ids of the lines that are shown: events of several instances come in any order. */
const seen = new Set();

element("name").value = localStorage.getItem("name") ?? "";
element("join").addEventListener("submit", (event) => {
  event.preventDefault();
  localStorage.setItem("name", element("name").value);
  connect();
});
element("say").addEventListener("submit", (event) => {
  event.preventDefault();
  send({ type: "item", id: "chat", payload: { text: element("text").value } });
  element("text").value = "";
});

function send(message) {
  socket.send(JSON.stringify(message));
}

function state(text) {
  element("state").textContent = text;
}

function connect() {
  socket?.close();
  element("lines").replaceChildren();
  seen.clear();
  const address = new URL("/ws/chat/Join", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const opened = new WebSocket(address, "vstp.json");
  socket = opened;
  opened.onopen = () => {
    // Subscribed before joining: between the history and the first event nothing is missed.
    send({ id: "events", service: "events", method: "subscribe", payload: { topics: [`chat.${room()}`] } });
  };
  opened.onmessage = ({ data }) => opened === socket && take(JSON.parse(data));
  opened.onclose = ({ code, reason }) => {
    if (opened !== socket) return;
    element("say").hidden = true;
    state(`the connection has ended (${reason || code})`);
  };
}

function take(message) {
  if (message.type === "error") return state(`${message.status}: ${message.error}`);
  if (message.type === "event") return show(message.payload);
  if (message.id === "events") {
    send({ type: "open", id: "chat" });
    send({ type: "item", id: "chat", payload: { room: room(), name: element("name").value } });
  } else if (message.payload?.type === "joined") {
    for (const line of message.payload.history) show({ ...line, type: "said" });
    element("say").hidden = false;
    element("text").focus();
    state(`in room ${message.payload.room}`);
  } else if (message.payload?.type === "taken") {
    state(`${message.payload.readers} in room ${room()}`);
  }
}

/** An event may tell what the history has told. */
function show({ type, id, name, text, at }) {
  if (type === "said" && seen.has(id)) return;
  if (type === "said") seen.add(id);
  const item = document.createElement("li");
  item.title = new Date(at).toLocaleString();
  if (type === "said") {
    item.append(Object.assign(document.createElement("b"), { textContent: name }), text);
  } else {
    item.className = "note";
    item.textContent = `${name} ${type === "joined" ? "has come" : "has left"}`;
  }
  element("lines").append(item);
  item.scrollIntoView({ block: "nearest" });
}
