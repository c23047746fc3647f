// A component for Spin, whose trigger for HTTP is `wasi:http`: requests are events. The last segment of the
// path says what it does.

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname, search } = new URL(request.url);
  switch (pathname.split("/").at(-1)) {
    case "facts": {
      const lines = [`${request.method} ${pathname}${search}`];
      for (const [name, value] of request.headers) lines.push(`${name}: ${value}`);
      return new Response(lines.join("\n"), { headers: { "content-type": "text/plain" } });
    }
    case "echo":
      // As it comes.
      return new Response(request.body, { headers: { "content-type": "application/octet-stream" } });
    case "status": {
      const headers = new Headers({ "x-a": "2" });
      headers.append("x-b", "1");
      headers.append("x-b", "3");
      return new Response("short and stout", { status: 418, headers });
    }
    case "trap":
      throw new Error("no page of that name");
    default:
      return new Response("nothing here", { status: 404 });
  }
}
