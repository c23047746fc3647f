import assert from "node:assert/strict";
import { test } from "node:test";

import { answer } from "./answer.js";

const get = (target, more = {}) => answer({ method: "get", target, ...more });

test("the page and its files are there under any prefix", () => {
  for (const prefix of ["/", "/services/", "/a/b/"]) {
    const page = get(`${prefix}?q=/x.css`);
    assert.equal(page.status, 200);
    assert.equal(page.fields["content-type"], "text/html; charset=utf-8");
    assert.match(page.body, /<script type="module" src="page\.js">/);
    assert.match(get(`${prefix}page.css`).fields["content-type"], /^text\/css/);
    assert.match(get(`${prefix}page.js`).body, /\/v1\/services/);
  }
});

test("a file that the client has is not sent again", () => {
  const { etag } = get("/").fields;
  assert.match(etag, /^"[0-9a-f]{8}"$/);
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
    const { status, body, fields } = get("/", { etag: known });
    assert.deepEqual([status, body, fields.etag], [304, "", etag]);
  }
  assert.equal(get("/", { etag: '"other"' }).status, 200);
  assert.notEqual(get("/page.js").fields.etag, etag);
});

test("what is not there is refused, and what no page is for", () => {
  const absent = get("/services");
  assert.deepEqual([absent.status, absent.body], [404, "there is no services; there are page.css, page.js and the page itself, at a path that ends with a slash\n"]);
  assert.equal(get("/toString").status, 404);
  const posted = answer({ method: "post", target: "/" });
  assert.deepEqual([posted.status, posted.fields.allow], [405, "GET, HEAD"]);
  const head = answer({ method: "head", target: "/" });
  assert.deepEqual([head.status, head.body, head.fields.etag], [200, "", get("/").fields.etag]);
});

test("the page runs no script but its own and reaches nobody but its server", () => {
  const policy = get("/").fields["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self'/);
  assert.doesNotMatch(get("/").body, /<script(?![^>]* src="page\.js")|\son[a-z]+=|style=/);
});
