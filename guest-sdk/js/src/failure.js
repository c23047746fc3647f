// Why a call failed: one of sixteen kinds, a text for people, details for programs.

/** The sixteen kinds of gRPC, in the order of their numbers. */
export const KINDS = Object.freeze([
  "cancelled",
  "unknown",
  "invalid-argument",
  "deadline-exceeded",
  "not-found",
  "already-exists",
  "permission-denied",
  "resource-exhausted",
  "failed-precondition",
  "aborted",
  "out-of-range",
  "unimplemented",
  "internal",
  "unavailable",
  "data-loss",
  "unauthenticated",
]);

/** A failed call: throw it. Anything else that is thrown becomes `internal`. */
export class Failure extends Error {
  /** @throws {TypeError} for a kind that is none. */
  constructor(kind, message = "", details = undefined) {
    super(String(message).toWellFormed());
    if (!KINDS.includes(kind)) throw new TypeError(`${JSON.stringify(kind)} is no kind of failure`);
    this.name = "Failure";
    this.kind = kind;
    this.details = details ?? undefined;
  }
}

for (const kind of KINDS) {
  const name = kind.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
  Failure[name] = (message, details) => new Failure(kind, message, details);
}

/** What becomes of something thrown: a Failure stays one, an Error is `internal` with its text. */
export function failureOf(thrown) {
  if (thrown instanceof Failure) return thrown;
  if (thrown instanceof Error) {
    const name = thrown.name || "Error";
    return new Failure("internal", thrown.message ? `${name}: ${thrown.message}` : name);
  }
  let text;
  try {
    text = typeof thrown === "string" ? thrown : JSON.stringify(thrown);
  } catch {
    text = undefined;
  }
  return new Failure("internal", `thrown: ${text ?? String(thrown)}`);
}
