// What pages say to the test that has opened them: over their own origin.

// The host and port of the gateway that is called.
export const api = new URLSearchParams(location.search).get("api");

export async function tell(what, finding) {
  const response = await fetch(`/told/${what}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(finding),
  });
  if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`);
}

// Runs a page to its end and says what came of it, or what was thrown.
export async function run(what, page) {
  let finding;
  try {
    finding = await page();
  } catch (error) {
    finding = { error: `${error}\n${error?.stack}` };
  }
  await tell(what, finding);
}

// The WebSocket once it is open, or the code that it was closed with.
export function opened(socket) {
  return new Promise((resolve, reject) => {
    socket.addEventListener("open", () => resolve(socket));
    socket.addEventListener("close", ({ code }) => reject(new Error(`closed with ${code}`)));
  });
}
