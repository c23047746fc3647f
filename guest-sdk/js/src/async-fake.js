// Both ends of an asynchronous call for a test: octets as they cross in a component.

import { answer, framed } from "./async-stream.js";

/** Most octets that are read or written at once. */
const PIECE_BYTES_MAX = 65_536;

/** Runs the handler to its end, and gives what it sent. Throws what it fails with. */
export async function callAsync(fake, service, method, messages) {
  fake.beginCall([]);
  const replies = answer(service, method, piecesOf(fake, messages));
  let written = new Uint8Array(0);
  for await (const octets of replies) {
    // Whoever leaves has taken what came before.
    if (fake.sent.length >= fake.leavesAfter) break;
    if (fake.reply.isOctets) fake.sent.push(octets);
    else written = sendMessages(fake, Buffer.concat([written, octets]));
  }
  if (fake.replyFailure) throw fake.replyFailure;
  return [...fake.sent];
}

/** The request as pieces of octets. */
async function* piecesOf(fake, messages) {
  for (const message of messages) {
    if (message instanceof Error) {
      fake.requestFailureFound = message;
      break;
    }
    const octets = fake.context.requestKind === "octets" ? message : framed(message);
    for (let start = 0; start < octets.length; start += PIECE_BYTES_MAX) yield octets.subarray(start, start + PIECE_BYTES_MAX);
  }
  fake.hasEnded = true;
}

/** Takes whole messages off the front; gives the rest. */
function sendMessages(fake, written) {
  let start = 0;
  while (written.length - start >= 4) {
    const end = start + 4 + written.readUInt32BE(start);
    if (end > written.length) break;
    fake.sent.push(Uint8Array.from(written.subarray(start + 4, end)));
    start = end;
  }
  return written.subarray(start);
}
