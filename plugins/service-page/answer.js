// Which file a request gets. Pure: no host.

import css from "./page/page.css" with { type: "text" };
import html from "./page/index.html" with { type: "text" };
import script from "./page/page.js" with { type: "text" };

/** By the last part of the path; whatever the route's prefix is. */
const FILES = {
  "": { type: "text/html; charset=utf-8", body: html },
  "page.css": { type: "text/css; charset=utf-8", body: css },
  "page.js": { type: "text/javascript; charset=utf-8", body: script },
};
/** What the page may do, beside its own files: ask the server that it came from. */
const POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Status, fields and body for a request of a method and target, whose client may have the file already. */
export function answer({ method, target, etag }) {
  if (method !== "get" && method !== "head") return refused(405, "GET and HEAD are allowed", { allow: "GET, HEAD" });
  const [path] = target.split("?");
  const name = path.slice(path.lastIndexOf("/") + 1);
  const file = Object.hasOwn(FILES, name) ? FILES[name] : undefined;
  if (!file) return refused(404, `there is no ${name}; there are ${Object.keys(FILES).slice(1).join(", ")} and the page itself, at a path that ends with a slash`);
  const tag = `"${digest(file.body)}"`;
  const fields = { "content-type": file.type, etag: tag, "cache-control": "no-cache", "content-security-policy": POLICY, "x-content-type-options": "nosniff" };
  if (matches(etag, tag)) return { status: 304, fields, body: "" };
  return { status: 200, fields, body: method === "head" ? "" : file.body };
}

function refused(status, why, fields = {}) {
  return { status, fields: { "content-type": "text/plain; charset=utf-8", ...fields }, body: `${why}\n` };
}

/** Whether a client's `if-none-match` has the tag; weak ones are the same here. */
function matches(known, tag) {
  return known !== undefined && known.split(",").some((each) => ["*", tag].includes(each.trim().replace(/^W\//, "")));
}

/** FNV-1a, 32 bits: names a version of a file of our own, and is no secret. */
function digest(text) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
