// VSTP as a page writes it itself: frames in binary messages of a WebSocket.
//
//   0    2         3      4       5            7            11        11+h      11+h+p
//   | VT | version | type | flags | h (little) | p (big)    | headers | payload | CRC-32 (big) |
//
// A header is the octet of its name's length, that of its value's, name, value.

export const HELLO = 1, WELCOME = 2, DATA = 3, BYE = 6;
const HEAD = 11, TRAILER = 4;
// Octets that each direction of a call may send before it is granted more, and what an item costs
// beside its octets.
const CREDIT = 65_536, ITEM_COST = 64;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(octets) {
  let crc = 0xffffffff;
  for (const octet of octets) crc = CRC_TABLE[(crc ^ octet) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const encoder = new TextEncoder(), decoder = new TextDecoder("utf-8", { fatal: true });

export function encode(type, headers, payload = "") {
  if (typeof payload === "string") payload = encoder.encode(payload);
  const fields = Object.entries(headers).map((field) => field.map((text) => encoder.encode(text)));
  const headerBytes = fields.reduce((sum, [name, value]) => sum + 2 + name.length + value.length, 0);
  const frame = new Uint8Array(HEAD + headerBytes + payload.length + TRAILER);
  const view = new DataView(frame.buffer);
  frame.set([0x56, 0x54, 1, type, 0]);
  view.setUint16(5, headerBytes, true);
  view.setUint32(7, payload.length);
  let at = HEAD;
  for (const [name, value] of fields) {
    frame.set([name.length, value.length], at);
    frame.set(name, at + 2);
    frame.set(value, at + 2 + name.length);
    at += 2 + name.length + value.length;
  }
  frame.set(payload, at);
  at += payload.length;
  view.setUint32(at, crc32(frame.subarray(0, at)));
  return frame;
}

// The frame at the front of `octets`; null until it is whole.
function decode(octets) {
  if (octets.length < HEAD) return null;
  const view = new DataView(octets.buffer, octets.byteOffset);
  if (octets[0] !== 0x56 || octets[1] !== 0x54 || octets[2] !== 1) throw new Error("no frame");
  const headersEnd = HEAD + view.getUint16(5, true), end = headersEnd + view.getUint32(7);
  if (octets.length < end + TRAILER) return null;
  if (view.getUint32(end) !== crc32(octets.subarray(0, end))) throw new Error("wrong CRC");
  const headers = {};
  for (let at = HEAD; at < headersEnd; ) {
    const value = at + 2 + octets[at], next = value + octets[at + 1];
    headers[decoder.decode(octets.subarray(at + 2, value))] = decoder.decode(octets.subarray(value, next));
    at = next;
  }
  const payload = octets.slice(headersEnd, end);
  return { type: octets[3], headers, payload, length: end + TRAILER };
}

// A session, whose frames may lie across messages in any manner.
export class Session {
  #socket;
  #rest = new Uint8Array();
  #welcome;
  #calls = new Map();
  #nextId = 1;

  constructor(socket) {
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#take(new Uint8Array(data)));
    this.#socket = socket;
  }

  // Greets the gateway: what WELCOME says. The frame is sent in two messages.
  hello() {
    const frame = encode(HELLO, { agent: "page", features: "mux" });
    this.#socket.send(frame.subarray(0, 7));
    this.#socket.send(frame.subarray(7));
    return new Promise((resolve) => (this.#welcome = resolve));
  }

  bye() {
    this.#socket.send(encode(BYE, {}));
  }

  // A call with one message: the payload of its answer as text.
  async call(service, method, payload) {
    const { id, next } = this.#begin();
    this.#socket.send(encode(DATA, { service, method, "correlation-id": id }, payload));
    const { headers, payload: answer } = await next();
    this.#calls.delete(id);
    if (headers.type !== "response") throw new Error(`${headers.status}: ${decoder.decode(answer)}`);
    return decoder.decode(answer);
  }

  // A call of many messages both ways. `send` waits for credit; `receive` gives null at the end.
  stream(service, method) {
    const { id, call, next } = this.#begin();
    const write = (headers, payload) =>
      this.#socket.send(encode(DATA, { "correlation-id": id, ...headers }, payload));
    write({ service, method, stream: "open" });
    return {
      send: async (payload) => {
        while (call.credit <= 0) await new Promise((resolve) => (call.credited = resolve));
        call.credit -= payload.length + ITEM_COST;
        write({ stream: "item" }, payload);
      },
      end: () => write({ stream: "end" }),
      receive: async () => {
        for (;;) {
          const { headers, payload } = await next();
          if (headers.stream === "item") {
            write({ credit: String(payload.length + ITEM_COST) });
            return payload;
          }
          if (headers.stream === "open") continue;
          this.#calls.delete(id);
          if (headers.stream === "end" && headers.type !== "error") return null;
          throw new Error(`${headers.stream} ${headers.status}: ${decoder.decode(payload)}`);
        }
      },
    };
  }

  #begin() {
    const id = String(this.#nextId++);
    const call = { credit: CREDIT, waiting: [], takers: [] };
    this.#calls.set(id, call);
    const next = () =>
      new Promise((resolve) => {
        if (call.waiting.length > 0) resolve(call.waiting.shift());
        else call.takers.push(resolve);
      });
    return { id, call, next };
  }

  #take(octets) {
    const whole = new Uint8Array(this.#rest.length + octets.length);
    whole.set(this.#rest);
    whole.set(octets, this.#rest.length);
    let at = 0;
    for (let frame; (frame = decode(whole.subarray(at))) !== null; at += frame.length) {
      this.#handle(frame);
    }
    this.#rest = whole.slice(at);
  }

  #handle(frame) {
    if (frame.type === WELCOME) this.#welcome(frame.headers);
    const call = this.#calls.get(frame.headers["correlation-id"]);
    if (frame.type !== DATA || call === undefined) return;
    const { credit, stream, type } = frame.headers;
    if (credit !== undefined) {
      call.credit += Number(credit);
      call.credited?.();
    }
    // What only grants credit is no answer.
    if (stream === undefined && type === undefined) return;
    if (call.takers.length > 0) call.takers.shift()(frame);
    else call.waiting.push(frame);
  }
}
