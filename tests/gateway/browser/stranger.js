// A page of an origin that the gateway does not share with: it neither reads nor opens anything.

import { api, opened, run } from "./tell.js";

// What is thrown, or that nothing is.
async function outcome(attempt) {
  try {
    await attempt();
    return "done";
  } catch (error) {
    return error.name;
  }
}

await run("stranger", async () => ({
  simple: await outcome(() => fetch(`https://${api}/v1/services`)),
  asked: await outcome(() =>
    fetch(`https://${api}/v1/services/echo/Echo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    }),
  ),
  calls: await outcome(() => opened(new WebSocket(`wss://${api}/ws/echo/Echo`))),
  session: await outcome(() => opened(new WebSocket(`wss://${api}/vstp`))),
}));
