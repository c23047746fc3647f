// What is entered by the host: the same for a component and for a test. Each function gives a value or a
// promise of it. What is thrown is a Failure: anything else becomes `internal`, with its text in the
// message and its stack in the log.

import { Failure, failureOf } from "./failure.js";
import { host } from "./host.js";
import { wellFormed } from "./json.js";
import { Request, Response, Reply, candidates, frame, make, required, roles } from "./roles.js";
import { findService, services } from "./service.js";
import { guard, isThenable, then } from "./then.js";

const STATUSES = ["serving", "degraded", "not-serving"];

/** What one instance has made. */
let state = {};
/** What answers a method, known from its first call on. Bounded by the number of methods: those that only
 * the fallback answers are named by callers and are not kept. */
const calls = new Map();

/** Makes the next entry the first one. */
export function reset() {
  state = {};
  calls.clear();
}

/** What becomes of something thrown. */
export function broken(error) {
  if (!(error instanceof Failure) && host().logEnabled("error")) {
    const head = error instanceof Error ? `${error.name}: ${error.message}` : "thrown";
    const stack = error?.stack ?? "";
    host().logWrite("error", stack.startsWith(head) ? stack : `${head}\n${stack}`.trimEnd(), []);
  }
  return failureOf(error);
}

/** Before the first call of an instance; throws again at every entry what it threw. */
function start() {
  if (state.isStarted) {
    if (state.failure) throw state.failure;
    return state.starting;
  }
  state.isStarted = true;
  const mine = state;
  const fail = (error) => (mine.failure = broken(error));
  const ready = () => {
    mine.starting = undefined;
    mine.isReady = true;
  };
  const starting = guard(() => roles.onStart?.(), fail);
  if (isThenable(starting)) mine.starting = starting.then(ready);
  else ready();
  return mine.starting;
}

/** Before a call that runs on after it was entered: nothing, or a promise of what runs before the first. */
export const begin = () => (state.isReady ? undefined : start());

function enter(run) {
  const starting = state.isReady ? undefined : start();
  return starting ? starting.then(() => guard(run, broken)) : guard(run, broken);
}

/** A unary call: a message, or a promise of it. Written out, since it is the one that is made most. */
export function handle(service, method, body) {
  let reply;
  try {
    const call = calls.get(method);
    if (call === undefined) return first(service, method, body);
    reply = call(body, method);
  } catch (error) {
    throw broken(error);
  }
  return isThenable(reply) ? reply.then(undefined, rethrow) : reply;
}

/** The first call of a method; where there is one service, those that follow find what answers them. */
function first(service, method, body) {
  return enter(() => {
    const asked = findService(service);
    const found = asked.find(method);
    if (services().length === 1 && state.isReady && found !== asked.fallback) calls.set(method, found.unary);
    return found.unary(body, method);
  });
}

function rethrow(error) {
  throw broken(error);
}

/** A call of many messages; a unary method gets one and gives one. */
export const handleStream = (service, method) => enter(() => findService(service).find(method).callStream(method));

/** How the plugin is. */
export function check() {
  const sick = (error) => {
    const failure = broken(error);
    return { status: "not-serving", message: `${failure.kind}: ${failure.message}` };
  };
  let report;
  try {
    report = enter(() => then(roles.health?.(), reported));
  } catch (error) {
    return sick(error);
  }
  return isThenable(report) ? report.then(undefined, sick) : report;
}

function reported(report) {
  const found = typeof report === "string" ? { status: report } : (report ?? { status: "serving" });
  if (!STATUSES.includes(found.status)) throw new TypeError(`health ${JSON.stringify(found.status)} is none of ${STATUSES.join(", ")}`);
  return { status: found.status, message: found.message == null ? undefined : wellFormed(found.message) };
}

/** Something has happened. */
export const onEvent = (event) => enter(() => required("eventHandler")(event));

/** A call has come. Whether it was answered. */
export const onRequest = () => enter(() => then(required("requestInterceptor")(new Request()), answer));

function answer(reply) {
  if (reply === undefined || reply === null) return false;
  if (!(reply instanceof Reply)) throw new TypeError(`the interceptor gave ${typeof reply}: nothing goes on, a reply(..) answers`);
  host().response.setPayload(reply.payload());
  for (const [name, value] of Object.entries(reply.headers)) host().response.setHeader(name, value);
  return true;
}

/** A call has ended. */
export const onResponse = () => enter(() => required("responseInterceptor")(new Request(), new Response()));

/** Who calls. */
export const authenticate = (credentials) => enter(() => then(required("authenticator")(credentials), identified));

function identified(identity) {
  if (identity === undefined || identity === null) return undefined;
  const { name, roles: names = [], claims = {}, valid } = identity;
  if (typeof name !== "string") throw new TypeError(`the authenticator gave a name that is ${typeof name}: it is a string`);
  if (!Array.isArray(names) || names.some((each) => typeof each !== "string")) throw new TypeError("the authenticator gave roles that are no list of strings");
  if (Object.values(claims).some((each) => typeof each !== "string")) throw new TypeError("the authenticator gave claims that are no strings");
  const isLimited = valid !== undefined && valid !== null;
  if (isLimited && !(typeof valid === "number" && valid >= 0 && valid <= Number.MAX_SAFE_INTEGER)) throw new TypeError(`the authenticator gave valid ${valid}: it is a number of milliseconds`);
  return {
    ...identity,
    name: wellFormed(name),
    roles: names.map(wellFormed),
    claims: Object.fromEntries(Object.entries(claims).map(([key, value]) => [wellFormed(key), wellFormed(value)])),
    valid: isLimited ? Math.round(valid) : undefined,
  };
}

/** What the caller may do. */
export const authorize = (service, method) => enter(() => required("authorizer")(service, method));

/** The set of instances has changed. One that cannot be told picks nothing. */
export const update = (instances) => alone("balancer", "update", (each) => each.update(instances));

/** The index of the instance that gets a call; nothing leaves it to the gateway. */
export const pick = (key) => alone("balancer", "pick", (each) => placed(each.pick(key, candidates)));

function placed(index) {
  if (index === undefined || index === null) return undefined;
  if (isThenable(index) || (Number.isInteger(index) && index >= 0 && index < 2 ** 32)) return index;
  throw new TypeError(`the balancer picked ${typeof index === "string" ? JSON.stringify(index) : String(index)}: it gives an index, or nothing`);
}

/** How a call ended that `pick` has placed. */
export const done = (index, outcome, micros) => alone("balancer", "done", (each) => each.done?.(index, outcome, micros));

/** Whether a frame is to be seen. One of which that cannot be told is not. */
export const shouldHandle = (head) => alone("frameExtension", "shouldHandle", (each) => wanted(each.shouldHandle(head))) ?? false;

function wanted(answer) {
  if (typeof answer === "boolean" || isThenable(answer)) return answer;
  throw new TypeError(`shouldHandle gave ${String(answer)}: true or false is right`);
}

/** A frame is in hand. Whether it is forgotten. */
export const handleFrame = () => enter(() => then(object("frameExtension").handleFrame(frame), dropped));

function dropped(verdict) {
  if (verdict === undefined || verdict === null || verdict === "pass") return false;
  if (verdict === "drop") return true;
  throw new TypeError(`the frame extension gave ${String(verdict)}: nothing, "pass" or "drop" is right`);
}

/** The one object of this instance that has a role. */
function object(role) {
  state.objects ??= {};
  return (state.objects[role] ??= make(role));
}

/** Runs a function of a role's object that is not waited for: a promise is refused, and nothing stands for
 * it, as for what is thrown. */
function alone(role, name, run) {
  try {
    return enter(() => {
      const value = run(object(role));
      if (!isThenable(value)) return value;
      broken(new TypeError(`\`${name}\` gave a promise: it is not waited for, and so not async`));
      return undefined;
    });
  } catch (error) {
    broken(error);
    return undefined;
  }
}
