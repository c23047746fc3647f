// URL of the URL standard (https://url.spec.whatwg.org), but for names of hosts beyond ASCII, which it
// refuses: write them in their `xn--` form.

import { parseHost } from "./url-host.js";
import { URLSearchParams } from "./url-search-params.js";

const PORTS = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443", "ftp:": "21", "file:": "" };

// Characters that are encoded beside controls and what is beyond ASCII.
const FRAGMENT = /[ "<>`]/;
const QUERY = /[ "#<>]/;
const SPECIAL_QUERY = /[ "#<>']/;
const PATH = /[ "#<>?^`{}]/;
const USER = /[ "#<>?^`{}/:;=@[\\\]|]/;
const NONE = /[^\s\S]/;

function encoded(text, also) {
  let result = "";
  for (const character of text.toWellFormed()) {
    const code = character.codePointAt(0);
    if (code > 0x7e) result += encodeURIComponent(character);
    else if (code < 0x20 || also.test(character)) result += `%${code.toString(16).toUpperCase().padStart(2, "0")}`;
    else result += character;
  }
  return result;
}

/** The parts of a URL as text: `scheme` and what comes after it. */
function parse(input, base) {
  const text = input.replace(/^[\u0000-\u0020]+|[\u0000-\u0020]+$/g, "").replace(/[\t\n\r]/g, "");
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*:)/.exec(text)?.[1].toLowerCase();
  if (!scheme) {
    if (!base) throw invalid(input);
    return relative(text, base, input);
  }
  let rest = text.slice(scheme.length);
  const isSpecial = scheme in PORTS;
  if (isSpecial && base?.protocol === scheme && scheme !== "file:" && !/^[/\\]/.test(rest)) return relative(rest, base, input);
  if (scheme === "file:" && base?.protocol === scheme && !/^[/\\]{2}/.test(rest)) return relative(rest, base, input);
  const [head, fragment] = cut(rest, "#");
  const [front, query] = cut(head, "?");
  const url = empty(scheme);
  url.query = query === undefined ? undefined : encoded(query, isSpecial ? SPECIAL_QUERY : QUERY);
  url.fragment = fragment === undefined ? undefined : encoded(fragment, FRAGMENT);
  if (isSpecial) {
    const slashed = front.replace(/\\/g, "/");
    if (scheme === "file:") {
      const [host, path] = /^\/\//.test(slashed) ? authority(slashed.slice(2)) : ["", slashed];
      url.host = host === "localhost" ? "" : parseHost(host, true);
      if (url.host === undefined) throw invalid(input);
      url.path = joinedPath([], path, true);
      return url;
    }
    const [part, path] = authority(slashed.replace(/^\/*/, ""));
    readAuthority(url, part, input);
    if (url.host === "") throw invalid(input);
    url.path = joinedPath([], path, true);
    return url;
  }
  if (front.startsWith("//")) {
    const [part, path] = authority(front.slice(2));
    readAuthority(url, part, input);
    url.path = path === "" ? [] : joinedPath([], path, false);
  } else if (front.startsWith("/")) {
    url.path = joinedPath([], front, false);
  } else {
    url.opaque = encoded(front, NONE);
  }
  return url;
}

function relative(text, base, input) {
  const isSpecial = base.protocol in PORTS;
  const from = internals(base);
  if (from.opaque !== undefined && !text.startsWith("#")) throw invalid(input);
  const [head, fragment] = cut(text, "#");
  const [front, query] = cut(head, "?");
  const path = isSpecial ? front.replace(/\\/g, "/") : front;
  const url = { ...from, path: [...from.path] };
  url.fragment = fragment === undefined ? undefined : encoded(fragment, FRAGMENT);
  if (path.startsWith("//")) return parse(base.protocol + text, undefined);
  if (head !== "") url.query = query === undefined ? undefined : encoded(query, isSpecial ? SPECIAL_QUERY : QUERY);
  if (path.startsWith("/")) url.path = joinedPath([], path, isSpecial);
  else if (path !== "") url.path = joinedPath(from.path.slice(0, -1), `/${path}`, isSpecial);
  return url;
}

function empty(scheme) {
  return { scheme, username: "", password: "", host: undefined, port: "", path: [], opaque: undefined, query: undefined, fragment: undefined };
}

function cut(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** The authority and the path behind it. */
function authority(text) {
  const at = text.indexOf("/");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at)];
}

function readAuthority(url, text, input) {
  const at = text.lastIndexOf("@");
  if (at >= 0) {
    const [name, password] = cut(text.slice(0, at), ":");
    url.username = encoded(name, USER);
    url.password = encoded(password ?? "", USER);
  }
  const place = text.slice(at + 1);
  const found = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(place);
  if (!found || (at >= 0 && found[1] === "")) throw invalid(input);
  const port = portOf(found[2] ?? "", url.scheme);
  url.host = parseHost(found[1], url.scheme in PORTS);
  if (url.host === undefined || port === undefined) throw invalid(input);
  url.port = port;
}

/** The port without zeros in front, empty for the usual one; `undefined` when it is none. */
function portOf(text, scheme) {
  if (text === "") return "";
  if (!/^[0-9]+$/.test(text) || Number(text) > 65_535) return undefined;
  const port = String(Number(text));
  return port === PORTS[scheme] ? "" : port;
}

/** Segments of a path, dots resolved. */
function joinedPath(before, text, isSpecial) {
  const path = [...before];
  const parts = text.split("/").slice(text.startsWith("/") ? 1 : 0);
  if (text === "" && isSpecial) return [""];
  parts.forEach((part, index) => {
    const isLast = index === parts.length - 1;
    const plain = part.replace(/%2e/gi, ".");
    if (plain === "..") {
      path.pop();
      if (isLast) path.push("");
    } else if (plain === ".") {
      if (isLast) path.push("");
    } else {
      path.push(encoded(part, PATH));
    }
  });
  return path;
}

function invalid(input) {
  return Object.assign(new TypeError(`Invalid URL: ${input}`), { code: "ERR_INVALID_URL", input });
}

let internals;

export class URL {
  #parts;
  #params;
  #reread;

  static {
    internals = (url) => url.#parts;
  }

  constructor(input, base) {
    this.#parts = parse(String(input), base === undefined ? undefined : new URL(base));
  }

  static canParse(input, base) {
    return URL.parse(input, base) !== null;
  }
  static parse(input, base) {
    try {
      return new URL(input, base);
    } catch {
      return null;
    }
  }

  get href() {
    const { username, password, host, query, fragment } = this.#parts;
    const user = username || password ? `${username}${password && `:${password}`}@` : "";
    const path = this.pathname;
    const place = host === undefined ? (path.startsWith("//") ? "/." : "") : `//${user}${this.host}`;
    return `${this.protocol}${place}${path}${query === undefined ? "" : `?${query}`}${fragment === undefined ? "" : `#${fragment}`}`;
  }
  set href(value) {
    this.#parts = parse(String(value), undefined);
    this.#reread?.(this.#parts.query ?? "");
  }
  get origin() {
    return this.protocol in PORTS && this.protocol !== "file:" ? `${this.protocol}//${this.host}` : "null";
  }
  get protocol() {
    return this.#parts.scheme;
  }
  set protocol(value) {
    const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):?/.exec(String(value))?.[1].toLowerCase();
    if (!scheme || `${scheme}:` in PORTS !== this.protocol in PORTS) return;
    this.#parts.scheme = `${scheme}:`;
    this.#parts.port = portOf(this.#parts.port, this.#parts.scheme);
  }
  get username() {
    return this.#parts.username;
  }
  set username(value) {
    if (this.#parts.host) this.#parts.username = encoded(String(value), USER);
  }
  get password() {
    return this.#parts.password;
  }
  set password(value) {
    if (this.#parts.host) this.#parts.password = encoded(String(value), USER);
  }
  get host() {
    const { host, port } = this.#parts;
    return (host ?? "") + (port && `:${port}`);
  }
  set host(value) {
    const [, name, port] = /^(\[[^\]]*\]|[^:/?#\\]*)(?::([0-9]*))?/.exec(String(value)) ?? [];
    this.hostname = name ?? "";
    if (port !== undefined) this.port = port;
  }
  get hostname() {
    return this.#parts.host ?? "";
  }
  set hostname(value) {
    const isSpecial = this.protocol in PORTS;
    const host = this.#parts.opaque === undefined ? parseHost(String(value), isSpecial) : undefined;
    if (host !== undefined && (host !== "" || !isSpecial)) this.#parts.host = host;
  }
  get port() {
    return this.#parts.port;
  }
  set port(value) {
    if (!this.#parts.host || this.protocol === "file:") return;
    const digits = /^[0-9]*/.exec(String(value))[0];
    if (String(value) === "" || digits) this.#parts.port = portOf(digits, this.protocol) ?? this.#parts.port;
  }
  get pathname() {
    const { opaque, path } = this.#parts;
    return opaque ?? path.map((part) => `/${part}`).join("");
  }
  set pathname(value) {
    if (this.#parts.opaque !== undefined) return;
    const isSpecial = this.protocol in PORTS;
    const text = isSpecial ? String(value).replace(/\\/g, "/") : String(value);
    this.#parts.path = joinedPath([], text.startsWith("/") ? text : `/${text}`, isSpecial);
  }
  get search() {
    return this.#parts.query ? `?${this.#parts.query}` : "";
  }
  set search(value) {
    const query = String(value).replace(/^\?/, "");
    this.#parts.query = String(value) === "" ? undefined : encoded(query, this.protocol in PORTS ? SPECIAL_QUERY : QUERY);
    this.#reread?.(query);
  }
  get searchParams() {
    if (!this.#params) {
      this.#params = new URLSearchParams(this.#parts.query ?? "");
      this.#reread = URLSearchParams.tie(this.#params, (query) => (this.#parts.query = query === "" ? undefined : query));
    }
    return this.#params;
  }
  get hash() {
    return this.#parts.fragment ? `#${this.#parts.fragment}` : "";
  }
  set hash(value) {
    this.#parts.fragment = String(value) === "" ? undefined : encoded(String(value).replace(/^#/, ""), FRAGMENT);
  }
  toString() {
    return this.href;
  }
  toJSON() {
    return this.href;
  }
}
