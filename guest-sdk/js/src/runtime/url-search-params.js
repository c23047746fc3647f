// URLSearchParams of the URL standard (https://url.spec.whatwg.org).

import { TextDecoder, octetsOf } from "./text.js";

const decoder = new TextDecoder();

/** Text of percent-encoded text; what is no UTF-8 is replaced. */
export function percentDecoded(text) {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // The loop below takes what `decodeURIComponent` refuses: a lone percent sign, octets that are no UTF-8.
    const latin = unescape(encodeURIComponent(text)).replace(/%([0-9a-fA-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
    return decoder.decode(octetsOf(latin));
  }
}

function formDecoded(text) {
  return percentDecoded(text.replace(/\+/g, " "));
}

function formEncoded(text) {
  const encoded = encodeURIComponent(text.toWellFormed()).replace(/[!'()~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return encoded.replace(/%20/g, "+");
}

export class URLSearchParams {
  #pairs = [];
  #changed = () => {};

  constructor(init = "") {
    if (typeof init === "object" && init !== null) {
      const pairs = typeof init[Symbol.iterator] === "function" ? [...init] : Object.entries(init);
      for (const pair of pairs) {
        const [name, value, more] = pair;
        if (value === undefined || more !== undefined) throw new TypeError("each query pair has a name and a value");
        this.#pairs.push([String(name), String(value)]);
      }
    } else {
      this.#read(String(init).replace(/^\?/, ""));
    }
  }

  #read(query) {
    this.#pairs = query
      .split("&")
      .filter((part) => part !== "")
      .map((part) => {
        const at = part.indexOf("=");
        return at < 0 ? [formDecoded(part), ""] : [formDecoded(part.slice(0, at)), formDecoded(part.slice(at + 1))];
      });
  }

  /** Ties it to a URL: `changed` is called with each new query. Gives what reads another query. */
  static tie(params, changed) {
    params.#changed = changed;
    return (query) => params.#read(query);
  }

  #change(pairs) {
    this.#pairs = pairs;
    this.#changed(this.toString());
  }

  get size() {
    return this.#pairs.length;
  }
  append(name, value) {
    this.#change([...this.#pairs, [String(name), String(value)]]);
  }
  delete(name, value) {
    this.#change(this.#pairs.filter(([key, each]) => key !== String(name) || (value !== undefined && each !== String(value))));
  }
  get(name) {
    return this.#pairs.find(([key]) => key === String(name))?.[1] ?? null;
  }
  getAll(name) {
    return this.#pairs.filter(([key]) => key === String(name)).map(([, value]) => value);
  }
  has(name, value) {
    return this.#pairs.some(([key, each]) => key === String(name) && (value === undefined || each === String(value)));
  }
  set(name, value) {
    const pairs = [];
    let isSet = false;
    for (const pair of this.#pairs) {
      if (pair[0] !== String(name)) pairs.push(pair);
      else if (!isSet) {
        pairs.push([String(name), String(value)]);
        isSet = true;
      }
    }
    if (!isSet) pairs.push([String(name), String(value)]);
    this.#change(pairs);
  }
  sort() {
    this.#change([...this.#pairs].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  }
  forEach(run, self) {
    for (const [name, value] of this.#pairs) run.call(self, value, name, this);
  }
  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }
  *keys() {
    for (const [name] of this.#pairs) yield name;
  }
  *values() {
    for (const [, value] of this.#pairs) yield value;
  }
  [Symbol.iterator]() {
    return this.entries();
  }
  toString() {
    return this.#pairs.map(([name, value]) => `${formEncoded(name)}=${formEncoded(value)}`).join("&");
  }
}
