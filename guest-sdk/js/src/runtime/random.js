// Random numbers. The engine is seeded when the component is built, so that all instances would draw the
// same ones; these come from the host's generator.

let source;

/** Says where octets come from: a function of their number. */
export function setSource(read) {
  source = read;
}

const OCTETS_MAX = 65_536;

function octets(count) {
  if (!source) throw new Error("random numbers are asked for outside of a call: a module is evaluated when the component is built");
  return source(count);
}

// xoshiro128**, which has 128 bits of state; seeded at the first draw.
let state;

/** Math.random: a number of [0, 1) with 53 bits. */
export function random() {
  state ??= new Uint32Array(octets(16).slice().buffer);
  return ((next() >>> 5) * 0x4000000 + (next() >>> 6)) / 2 ** 53;
}

function next() {
  const [a, b, c, d] = state;
  const result = Math.imul(rotated(Math.imul(b, 5), 7), 9);
  state[2] = c ^ a;
  state[3] = d ^ b;
  state[1] = b ^ state[2];
  state[0] = a ^ state[3];
  state[2] ^= b << 9;
  state[3] = rotated(state[3], 11);
  return result;
}

function rotated(value, bits) {
  return (value << bits) | (value >>> (32 - bits));
}

export const crypto = {
  getRandomValues(target) {
    if (!ArrayBuffer.isView(target)) throw new TypeError("getRandomValues fills a typed array of integers");
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    if (bytes.length > OCTETS_MAX) throw new RangeError(`${bytes.length} octets exceed the limit of ${OCTETS_MAX}`);
    if (bytes.length) bytes.set(octets(bytes.length));
    return target;
  },
  randomUUID() {
    const bytes = octets(16).slice();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  },
};
