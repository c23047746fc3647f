// Role `async-stream-handler`: a call of many messages, answered without waiting in the host.
//
//     asyncStreamHandler(async function* (service, method, request) {
//       for await (const message of request) yield message;
//     });
//
// A component enters `answer` with the stream of the request (`async-component.js`), a test with that of its
// messages (`testing.js`).

import * as entry from "./entry.js";
import { Failure } from "./failure.js";
import { host } from "./host.js";
import { decode, encode, parse } from "./json.js";
import { required } from "./roles.js";

/** Octets of the length before each message. wit, interface `async-stream-handler`. */
const LENGTH_BYTES = 4;

/** The body of the request: an async iterable of its messages as `Uint8Array`, or of the pieces of a body of
 * octets, whose ends mean nothing. One message is there at a time. */
export class AsyncRequest {
  #pieces;
  #isOctets;
  /** What was read and not given. */
  #rest = new Uint8Array(0);

  /** `pieces`: an async iterator of octets. */
  constructor(pieces, isOctets) {
    this.#pieces = pieces;
    this.#isOctets = isOctets;
  }

  async next() {
    const value = this.#isOctets ? await this.#piece() : await this.#message();
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  }

  /** Reads no more. */
  async return() {
    await this.#pieces.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** The messages as JSON, checked by a type where one is given. */
  async *json(type) {
    for await (const message of this) yield type ? type.parseMessage(message) : parse(decode(message));
  }

  async #piece() {
    const step = await this.#pieces.next();
    if (!step.done) return step.value;
    const failure = host().requestFailure();
    if (failure) throw failure;
    return undefined;
  }

  async #message() {
    const length = await this.#exactly(LENGTH_BYTES);
    if (length === undefined) return undefined;
    const message = await this.#exactly(new DataView(length.buffer, length.byteOffset).getUint32(0));
    if (message === undefined) throw within();
    return message;
  }

  /** So many octets; `undefined` where the request ends before the first of them. */
  async #exactly(count) {
    if (this.#rest.length >= count) return this.#take(count);
    const found = new Uint8Array(count);
    let length = 0;
    while (length < count) {
      if (this.#rest.length === 0) {
        const piece = await this.#piece();
        if (piece === undefined) {
          if (length > 0) throw within();
          return undefined;
        }
        this.#rest = piece;
        continue;
      }
      const part = this.#take(Math.min(count - length, this.#rest.length));
      found.set(part, length);
      length += part.length;
    }
    return found;
  }

  #take(count) {
    const part = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return part;
  }
}

const within = () => Failure.dataLoss("the request has ended within a message");

/** The reply as octets: an async generator that runs the handler. What the handler fails with is told to the
 * host; where the reader leaves, the handler is told where it yields. */
export async function* answer(service, method, pieces) {
  let replies;
  let isDone = false;
  try {
    await entry.begin();
    const request = new AsyncRequest(pieces, host().requestKind() === "octets");
    replies = required("asyncStreamHandler")(service, method, request);
    if (typeof replies?.[Symbol.asyncIterator] !== "function") throw Failure.internal("the handler gave no async iterable: declare it as `async function*`");
    for await (const reply of replies) {
      const octets = octetsOf(reply);
      const sent = host().repliesInOctets() ? octets : framed(octets);
      if (sent.length > 0) yield sent;
    }
    isDone = true;
  } catch (error) {
    isDone = true;
    host().fail(entry.broken(error));
  } finally {
    // Whoever reads has left: `for await` has returned the handler's generator, whose `finally` has run.
    if (!isDone) host().fail(Failure.cancelled("the caller has left"));
    await pieces.return?.();
  }
}

export function framed(message) {
  const octets = new Uint8Array(LENGTH_BYTES + message.length);
  new DataView(octets.buffer).setUint32(0, message.length);
  octets.set(message, LENGTH_BYTES);
  return octets;
}

function octetsOf(reply) {
  if (reply instanceof Uint8Array) return reply;
  if (typeof reply === "string") return encode(reply);
  if (reply instanceof ArrayBuffer) return new Uint8Array(reply);
  throw new TypeError(`the handler gave ${reply === null ? "null" : typeof reply}: a message is a Uint8Array or a string`);
}
