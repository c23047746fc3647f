// Hosts of URLs: names, IPv4 and IPv6 addresses, written as the URL standard writes them.

import { percentDecoded } from "./url-search-params.js";

const FORBIDDEN = /[\u0000-\u0020"#%/:<>?@[\\\]^`{|}\u007f]/;
const FORBIDDEN_OPAQUE = /[\u0000\t\n\r #/:<>?@[\\\]^|]/;

/** The host as it is written in a URL; `undefined` when it is none. */
export function parseHost(text, isSpecial) {
  if (text.startsWith("[")) {
    const pieces = text.endsWith("]") ? ipv6(text.slice(1, -1)) : undefined;
    return pieces && `[${shownIpv6(pieces)}]`;
  }
  if (!isSpecial) return FORBIDDEN_OPAQUE.test(text) ? undefined : opaque(text);
  const name = percentDecoded(text).toLowerCase();
  if (/[^\x00-\x7f]/.test(name) || FORBIDDEN.test(name)) return undefined;
  const labels = name.replace(/\.$/, "").split(".");
  const last = labels.at(-1);
  if (!/^(?:[0-9]+|0x[0-9a-f]*)$/.test(last)) return name;
  return ipv4(labels);
}

function opaque(text) {
  let result = "";
  for (const character of text) {
    const code = character.codePointAt(0);
    result += code > 0x7e ? encodeURIComponent(character) : code < 0x20 ? `%${code.toString(16).toUpperCase().padStart(2, "0")}` : character;
  }
  return result;
}

/** One to four numbers, the last of which has the rest of the octets. */
function ipv4(labels) {
  if (labels.length > 4) return undefined;
  const numbers = labels.map((label) => {
    if (/^0x[0-9a-f]*$/.test(label)) return label === "0x" ? 0 : parseInt(label.slice(2), 16);
    if (/^0[0-7]+$/.test(label)) return parseInt(label, 8);
    return /^(?:0|[1-9][0-9]*)$/.test(label) ? Number(label) : NaN;
  });
  const last = numbers.pop();
  if (numbers.some((number) => !(number <= 255)) || !(last < 256 ** (4 - numbers.length))) return undefined;
  const value = numbers.reduce((sum, number, index) => sum + number * 256 ** (3 - index), last);
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

/** Eight numbers of 16 bits. */
function ipv6(text) {
  let source = text;
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (tail) {
    const octets = tail[2].split(".");
    if (octets.some((octet) => !/^(?:0|[1-9][0-9]{0,2})$/.test(octet) || Number(octet) > 255)) return undefined;
    const [a, b, c, d] = octets.map(Number);
    source = `${tail[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const halves = source.split("::");
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  if (groups.flat().some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  const given = groups.flat().length;
  if (halves.length === 1 ? given !== 8 : given > 7) return undefined;
  const [front, back = []] = groups.map((half) => half.map((group) => parseInt(group, 16)));
  return [...front, ...new Array(8 - given).fill(0), ...back];
}

/** The longest run of at least two zeros, the first of equal ones, is left out. */
function shownIpv6(pieces) {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (pieces[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = (part) => part.map((piece) => piece.toString(16)).join(":");
  if (best.start < 0) return hex(pieces);
  return `${hex(pieces.slice(0, best.start))}::${hex(pieces.slice(best.start + best.length))}`;
}
