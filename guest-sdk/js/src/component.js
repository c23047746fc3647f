// The seam to the real host. The bundle that `build/` makes links it to the modules of the world, of which
// `kv`, `client`, `events` and those of roles are there when the project uses them.
//
// The engine gives `null` for what is absent and wants `null` for it; everywhere else of this package it
// is `undefined`. This file and no other knows that.

import * as entry from "./entry.js";
import { Failure } from "./failure.js";
import { putHost } from "./host.js";
import { decode, encode, wellFormed } from "./json.js";
import { Event } from "./roles.js";
import { schemaName, schemasOf, services } from "./service.js";
import { hasJobs, runJobs } from "./runtime/promise.js";
import { clearAll, hasTimers, settle } from "./runtime/timers.js";
import { setSettle } from "./then.js";
import { connectWasi } from "./wasi.js";

const present = (value) => (value === null ? undefined : value);
const absent = (value) => (value === undefined ? null : value);
const octets = (message) => (typeof message === "string" ? encode(message) : message);

/** A failure of an import, as the plugin sees it; anything else stays what it is. */
export function raised(error) {
  const found = error?.payload;
  if (!found || typeof found.kind !== "string") return error;
  let details = present(found.details);
  try {
    if (details !== undefined) details = JSON.parse(details);
  } catch {
    // Details that are no JSON stay text.
  }
  return new Failure(found.kind, found.message, details);
}

/** A value as it may go out: all text in it is Unicode. */
function outgoing(value) {
  if (typeof value === "string") return value.toWellFormed();
  return Array.isArray(value) ? value.map(outgoing) : value;
}

function attempt(run, ...values) {
  try {
    return present(run(...values.map(outgoing)));
  } catch (error) {
    throw raised(error);
  }
}

export function wit(failure) {
  let details = null;
  try {
    if (failure.details !== undefined) details = JSON.stringify(failure.details) ?? null;
  } catch {
    // Details without a form in JSON are left out.
  }
  return { kind: failure.kind, message: wellFormed(failure.message), details };
}

/** The imports. `turn` is the call of a batch about which nothing was asked so far. */
export class ComponentHost {
  turn = undefined;

  constructor({ call, log, config, kv, client, events, metrics, directory, request, response, frame, candidates }) {
    const of = (run) => (...values) => {
      this.#takeTurn();
      return attempt(run, ...values);
    };
    // Functions that an older interface lacks have something in their place.
    const addHeader = call.addHeader ?? call.setHeader;
    const addTrailer = call.addTrailer ?? call.setTrailer;
    Object.assign(this, {
      header: of(call.header),
      headers: of(call.headers),
      http: () => withoutNull(of(call.http)()),
      requestKind: of(call.requestKind),
      trailers: of(call.trailers),
      setStatus: of(call.setStatus),
      setOctets: of(call.setOctets),
      addHeader: of((name, value) => addHeader(String(name), String(value))),
      addTrailer: of((name, value) => addTrailer(String(name), String(value))),
      peer: () => withoutNull(of(call.peer)()),
      principal: of(call.principal),
      claim: of(call.claim),
      remainingMs: of(call.remainingMs),
      correlationId: of(call.correlationId),
      traceparent: of(call.traceparent),
      next: () => attempt(call.next),
      nextText: call.nextText ? () => attempt(call.nextText) : () => textOf(attempt(call.next)),
      send: twin(call.send, call.sendText),
      logEnabled: (level) => log.enabled(level),
      logWrite: of((level, message, fields) => log.write(level, message, fields)),
      configGet: (key) => attempt(config.get, key),
      configAll: () => config.all(),
      ...(kv && kvOf(kv)),
      ...(client && clientOf(client)),
      publish: events && publishOf(events),
      ...(metrics && metricsOf(metrics)),
      ...(directory && directoryOf(directory, of)),
      usable: candidates && ((index) => candidates.usable(index)),
      random: candidates && (() => candidates.random()),
      request: request && side(request),
      response: response && {
        ...side(response),
        failed: () => {
          const failure = present(response.failed());
          return failure && raised({ payload: failure });
        },
        elapsedMicros: () => response.elapsedMicros(),
      },
      frame: frame && side(frame),
    });
  }

  #takeTurn() {
    if (this.turn === undefined) return;
    const index = this.turn;
    this.turn = undefined;
    this.takeTurn(index);
  }
}

function kvOf(kv) {
  return {
    kvGet: (key) => attempt(kv.get, key),
    kvGetText: kv.getText ? (key) => attempt(kv.getText, key) : (key) => textOf(attempt(kv.get, key)),
    kvSet: twin(kv.set, kv.setText),
    kvDelete: (key) => attempt(kv["delete"], key),
    kvSwap: (key, expected, value) => attempt(kv.swap, key, absent(expected), absent(value)),
    kvKeys: (prefix, after, limit) => attempt(kv.keys, prefix, absent(after), limit),
  };
}

function clientOf(client) {
  const inOctets = (service, method, body, headers, timeout) => attempt(client.call, service, method, octets(body), optionsOf(headers, timeout));
  const inText = (service, method, body, headers, timeout) => attempt(client.callText, service, method, body, optionsOf(headers, timeout));
  return { clientCall: inOctets, clientCallText: client.callText ? inText : (...call) => textOf(inOctets(...call)) };
}

function publishOf(events) {
  return (topic, contentType, payload) =>
    events.publishText && typeof payload === "string"
      ? attempt(events.publishText, topic, absent(contentType), payload)
      : attempt(events.publish, topic, absent(contentType), octets(payload));
}

function metricsOf(metrics) {
  return {
    metricDeclare: (name, kind, help, bounds) => attempt(metrics.declare, name, kind, help, bounds),
    metricChange: (change, name, labels, value) => attempt(metrics[change], name, labels, value),
  };
}

/** Of a batch, what is found depends on whose call is answered, so that has its turn first. */
function directoryOf(directory, of) {
  const listing = (found) => found && { revision: found.revision, instances: found.instances.map(instanceOf) };
  return {
    directoryDiscover: (service) => listing(of(directory.discover)(service)),
    directoryNextChange: (service, revision, timeout) => listing(of(directory.nextChange)(service, revision, timeout)),
  };
}

function instanceOf(found) {
  return withoutNull({ ...found, metadata: Object.fromEntries(found.metadata) });
}

function optionsOf(headers, timeout) {
  return headers.length || timeout !== undefined ? { headers: outgoing(headers), timeoutMs: absent(timeout) } : null;
}

/** Text of octets that may be absent. */
function textOf(message) {
  return message === undefined ? undefined : decode(message);
}

/** Sends text by the function for text where there is one. The message is the last argument. */
function twin(forOctets, forText) {
  return (...values) => {
    const message = values.pop();
    if (typeof message === "string" && forText) return attempt(forText, ...values, message);
    return attempt(forOctets, ...values, octets(message));
  };
}

function withoutNull(found) {
  return found && Object.fromEntries(Object.entries(found).filter(([, value]) => value !== null));
}

function side(module) {
  return {
    service: module.service,
    method: module.method,
    header: (name) => attempt(module.header, name),
    headers: () => module.headers(),
    setHeader: (name, value) => attempt(module.setHeader, String(name), String(value)),
    addHeader: (name, value) => attempt(module.addHeader, String(name), String(value)),
    removeHeader: (name) => attempt(module.removeHeader, name),
    payload: () => attempt(module.payload),
    payloadText: module.payloadText ? () => attempt(module.payloadText) : () => decode(attempt(module.payload)),
    setPayload: twin(module.setPayload, module.setPayloadText),
  };
}

/** The roles that a component may export, linked to the modules of its world. */
export function link(modules) {
  const { call, random, monotonicClock } = modules;
  const host = new ComponentHost(modules);
  host.takeTurn = (index) => call.turn(index);
  let isEntered = false;

  function enter() {
    isEntered = true;
    putHost(host);
    setSettle(settle);
    connectWasi({ random, monotonicClock });
  }

  /** Runs an entry to its end and throws what it fails with as the host wants it. */
  function run(work) {
    if (!isEntered) enter();
    try {
      return work();
    } catch (error) {
      throw failed(error);
    } finally {
      finish();
    }
  }

  function handle(service, method, body) {
    if (!isEntered) enter();
    try {
      return entry.handle(service, method, body);
    } catch (error) {
      throw failed(error);
    } finally {
      finish();
    }
  }

  function failed(error) {
    return wit(error instanceof Failure ? error : entry.broken(error));
  }

  /** Nothing that a call has left behind goes on in the next one, which another caller may have made: jobs
   * run while the call is still the present one, and timers, which would have to be waited for, are dropped. */
  function finish() {
    while (hasJobs()) {
      try {
        runJobs();
      } catch (error) {
        entry.broken(error);
      }
    }
    if (hasTimers()) host.logWrite("debug", `${clearAll()} timers were still waiting when the call ended; they are forgotten`, []);
  }

  function batch(service, method, bodies, lengths) {
    const answers = [];
    let start = 0;
    for (let index = 0; index < lengths.length; index++) {
      const end = start + lengths[index];
      host.turn = index;
      try {
        const body = bodies.subarray(start, end);
        answers.push({ tag: "ok", val: octets(handle(service, method, body)) });
      } catch (failure) {
        answers.push({ tag: "err", val: failure });
      }
      start = end;
    }
    host.turn = undefined;
    return answers;
  }

  const instance = ({ id, weight, zone, version, metadata }) => ({ id, weight, zone: present(zone), version: present(version), metadata: Object.fromEntries(metadata) });

  return {
    handler: { handle: (service, method, body) => octets(handle(service, method, body)) },
    textHandler: { handleText: handle },
    batchHandler: { handleBatch: batch },
    streamHandler: {
      handleStream(service, method) {
        run(() => entry.handleStream(service, method));
      },
    },
    eventHandler: {
      onEvent(topic, contentType, payload) {
        run(() => entry.onEvent(new Event(topic, payload, present(contentType))));
      },
    },
    health: {
      check() {
        const { status, message } = run(() => entry.check());
        return { status, message: absent(message) };
      },
    },
    describe: { services: () => services().map(described) },
    schemas: { schemas: () => schemasOf(services()) },
    balancer: {
      update: (instances) => run(() => entry.update(instances.map(instance))),
      pick: (key) => absent(run(() => entry.pick(key))),
      done: (index, outcome, micros) => run(() => entry.done(index, outcome, micros)),
    },
    frameExtension: {
      shouldHandle: (head) => run(() => entry.shouldHandle(head)),
      handleFrame: () => (run(() => entry.handleFrame()) ? "drop" : "pass"),
    },
    requestInterceptor: { onRequest: () => (run(() => entry.onRequest()) ? "answer" : "proceed") },
    responseInterceptor: {
      onResponse() {
        run(() => entry.onResponse());
      },
    },
    authenticator: {
      authenticate(credentials) {
        const found = run(() => entry.authenticate(credentials));
        if (found === undefined) return null;
        const { name, roles, claims, valid } = found;
        return { name, roles, claims: Object.entries(claims), validMs: absent(valid) };
      },
    },
    authorizer: {
      authorize(service, method) {
        run(() => entry.authorize(service, method));
      },
    },
  };
}

function described(service) {
  const methods = service.all().map(([name, method]) => ({
    name,
    summary: method.summary,
    kind: method.kind,
    request: method.input ? schemaName(method.input, name, true) : "",
    response: method.output ? schemaName(method.output, name, false) : "",
    idempotent: method.idempotent,
  }));
  return { name: service.name, version: absent(service.version), summary: service.summary, methods };
}
