/** Postern plugins in JavaScript and TypeScript. The guide is README.md. */

/// <reference path="./globals.d.ts" />

export type Kind =
  | "cancelled"
  | "unknown"
  | "invalid-argument"
  | "deadline-exceeded"
  | "not-found"
  | "already-exists"
  | "permission-denied"
  | "resource-exhausted"
  | "failed-precondition"
  | "aborted"
  | "out-of-range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data-loss"
  | "unauthenticated";

export const KINDS: readonly Kind[];

type MakeFailure = (message?: string, details?: unknown) => Failure;

/** A failed call: throw it. Anything else that is thrown becomes `internal`. */
export class Failure extends Error {
  constructor(kind: Kind, message?: string, details?: unknown);
  readonly kind: Kind;
  /** One JSON value for programs, shown to the caller beside the message. */
  readonly details: unknown;
  static cancelled: MakeFailure;
  static unknown: MakeFailure;
  static invalidArgument: MakeFailure;
  static deadlineExceeded: MakeFailure;
  static notFound: MakeFailure;
  static alreadyExists: MakeFailure;
  static permissionDenied: MakeFailure;
  static resourceExhausted: MakeFailure;
  static failedPrecondition: MakeFailure;
  static aborted: MakeFailure;
  static outOfRange: MakeFailure;
  static unimplemented: MakeFailure;
  static internal: MakeFailure;
  static unavailable: MakeFailure;
  static dataLoss: MakeFailure;
  static unauthenticated: MakeFailure;
}

/** One type of messages. `In` is what is accepted, `Out` what is read. */
export interface Type<Out, In = Out> {
  readonly name: string;
  readonly isOptional: boolean;
  /** The same with a sentence for people. */
  describe(description: string): this;
  /** The same under a name, by which schemas refer to it. */
  named(name: string): this;
  /** A member that may be absent. */
  optional(): OptionalType<Out, In>;
  /** A member that has a value where it is absent. */
  default(fallback: Out): DefaultedType<Out, In>;
  nullable(): Type<Out | null, In | null>;
  /** Checks a value. Throws `invalid-argument` that leads to the fault. */
  parse(value: unknown): Out;
  /** JSON Schema (2020-12). */
  toSchema(): Record<string, unknown>;
  readonly __out?: Out;
  readonly __in?: In;
}
export interface OptionalType<Out, In = Out> extends Type<Out | undefined, In | undefined> {
  readonly __optional: "both";
}
export interface DefaultedType<Out, In = Out> extends Type<Out, In | undefined> {
  readonly __optional: "in";
}

/** What a type reads. */
export type Infer<T> = T extends Type<infer Out, any> ? Out : never;
/** What a type accepts: members with a default may be absent. */
export type InferInput<T> = T extends Type<any, infer In> ? In : never;

type Members = Record<string, Type<any, any>>;
type Flat<T> = { [K in keyof T]: T[K] };
type OutObject<M extends Members> = Flat<
  { [K in keyof M as M[K] extends { __optional: "both" } ? never : K]: Infer<M[K]> } & {
    [K in keyof M as M[K] extends { __optional: "both" } ? K : never]?: Infer<M[K]>;
  }
>;
type InObject<M extends Members> = Flat<
  { [K in keyof M as M[K] extends { __optional: string } ? never : K]: InferInput<M[K]> } & {
    [K in keyof M as M[K] extends { __optional: string } ? K : never]?: InferInput<M[K]>;
  }
>;
interface Bounds {
  min?: number;
  max?: number;
}

/** The builder of types. */
export const t: {
  string(options?: Bounds & { pattern?: string }): Type<string>;
  number(options?: Bounds): Type<number>;
  /** A whole number that is exact in JavaScript. */
  integer(options?: Bounds): Type<number>;
  boolean(): Type<boolean>;
  null(): Type<null>;
  any(): Type<any>;
  /** The message as it is; for whole messages only. */
  octets(): Type<Uint8Array, Uint8Array | ArrayBuffer | string>;
  array<O, I>(item: Type<O, I>, options?: Bounds): Type<O[], I[]>;
  object<M extends Members>(members: M): Type<OutObject<M>, InObject<M>>;
  object<M extends Members>(name: string, members: M): Type<OutObject<M>, InObject<M>>;
  record<O, I>(item: Type<O, I>): Type<Record<string, O>, Record<string, I>>;
  oneOf<const V extends (string | number | boolean)[]>(...values: V): Type<V[number]>;
  union<T extends Type<any, any>[]>(...types: T): Type<Infer<T[number]>, InferInput<T[number]>>;
  /** A type that is made when it is first used: one that names itself. */
  lazy<O, I = O>(name: string, make: () => Type<O, I>): Type<O, I>;
};

type Awaitable<T> = T | Promise<T>;
/** What a type that may be left out says; any JSON value without one. */
type Read<T> = T extends Type<infer Out, any> ? Out : any;
type Written<T> = T extends Type<any, infer In> ? In : unknown;

export interface MethodOptions<I, O> {
  input?: I;
  output?: O;
  /** One sentence for people. */
  summary?: string;
  /** A second identical call changes nothing more, so that it may be retried. */
  idempotent?: boolean;
  /** Instead of the key, with a capital letter. */
  name?: string;
}
type AnyType = Type<any, any> | undefined;
declare const declared: unique symbol;
export interface Method {
  readonly [declared]: true;
}
/** The body of the request of an asynchronous stream: its messages, or the pieces of a body of octets, whose
 * ends mean nothing. One message is there at a time. */
export interface AsyncRequest extends AsyncIterableIterator<Uint8Array> {
  /** The messages as JSON, checked by a type where one is given. */
  json(): AsyncIterableIterator<any>;
  json<T>(type: Type<T>): AsyncIterableIterator<T>;
}

/** Answers every streaming call of the component: an async generator function of messages; once
 * `call.setOctets()` was called before the first, they are pieces of one body. A component has no role beside
 * it but `health`. Where the caller has left, the generator is returned: its `finally` runs. */
export function asyncStreamHandler<T extends (service: string, method: string, request: AsyncRequest) => AsyncGenerator<Uint8Array | ArrayBuffer | string, void, unknown>>(handle: T): T;

/** The messages of a streaming request, for `for` and for `for await`. Waits for each. */
export type Incoming<T> = Iterable<T>;
/** What a generator gives. */
export type Outgoing<T> = Iterable<T> | AsyncIterable<T>;

/** A unary method. The second argument of the function is the method's name. */
export function method<I extends AnyType = undefined, O extends AnyType = undefined>(
  options: MethodOptions<I, O>,
  run: (input: Read<I>, method: string) => Awaitable<Written<O>>,
): Method;
/** One message in, many out: a generator. */
export function serverStream<I extends AnyType = undefined, O extends AnyType = undefined>(
  options: MethodOptions<I, O>,
  run: (input: Read<I>, method: string) => Outgoing<Written<O>>,
): Method;
/** Many messages in, one out. */
export function clientStream<I extends AnyType = undefined, O extends AnyType = undefined>(
  options: MethodOptions<I, O>,
  run: (input: Incoming<Read<I>>, method: string) => Awaitable<Written<O>>,
): Method;
/** Many messages in, many out: a generator. */
export function bidirectional<I extends AnyType = undefined, O extends AnyType = undefined>(
  options: MethodOptions<I, O>,
  run: (input: Incoming<Read<I>>, method: string) => Outgoing<Written<O>>,
): Method;

export interface Service {
  readonly name: string;
}
/** Makes a service. A plain function is a unary method of any JSON value. */
export function service(options: {
  name: string;
  /** A semantic version. */
  version?: string;
  /** One sentence for people. */
  summary?: string;
  methods?: Record<string, Method | ((input: any, method: string) => unknown)>;
  /** Answers every method without a function of its own; gets its name second. */
  fallback?: Method | ((input: any, method: string) => unknown);
}): Service;

export class Event {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly contentType: string | undefined;
  text(): string;
  json(): any;
  json<T>(type: Type<T, any>): T;
}

interface Exchanged {
  /** The first value of a header; `undefined` also when it is not UTF-8. */
  header(name: string): string | undefined;
  headers(): [name: string, value: Uint8Array][];
  /** Puts a header in the place of all of that name. */
  setHeader(name: string, value: string): void;
  removeHeader(name: string): void;
  /** The message of a unary call as it is. Only here does it cross into the component. */
  octets(): Uint8Array;
  payload(): any;
  payload<T>(type: Type<T, any>): T;
  /** Puts another message in place: a value as JSON, octets as they are. */
  setPayload(value: unknown): void;
}
/** The call on its way to its handler. */
export interface Request extends Exchanged {
  readonly service: string;
  readonly method: string;
}
/** What the call came to. */
export interface Response extends Exchanged {
  readonly failed: Failure | undefined;
  /** Milliseconds since the call came in. */
  readonly elapsed: number;
}
export interface Reply {
  readonly value: unknown;
  readonly headers: Record<string, string>;
}
/** What an interceptor of requests answers with. */
export function reply(value: unknown, options?: { headers?: Record<string, string> }): Reply;

export interface Instance {
  id: string;
  /** Its share relative to the others; 100 is the usual one, 0 means no new calls. */
  weight: number;
  zone?: string;
  version?: string;
  metadata: Record<string, string>;
}
export interface Candidates {
  /** Whether the instance may get this call. */
  usable(index: number): boolean;
  /** A random number below 2^53, new at every pick. */
  random(): number;
}
export interface Balancer {
  update(instances: Instance[]): void;
  /** `key` is exact below 2^53. Nothing leaves the pick to the gateway. */
  pick(key: number, candidates: Candidates): number | undefined;
  done?(index: number, outcome: "success" | "failure" | "timeout", micros: number): void;
}
/** A frame without its headers and payload. */
export interface FrameHead {
  readonly kind: "hello" | "welcome" | "data" | "ping" | "pong" | "bye" | "ack" | "err";
  /** `inbound` is from a peer to the gateway. */
  readonly direction: "inbound" | "outbound";
  /** `0x01` wants an ACK, `0x10` one part of a message, `0x20` compressed payload. */
  readonly flagBits: number;
  readonly headerBytes: number;
  readonly payloadBytes: number;
}
/** The frame in hand. */
export interface Frame {
  /** The first value of a header; `undefined` also when it is not UTF-8. */
  header(name: string): string | undefined;
  headers(): [name: string, value: Uint8Array][];
  /** Puts a header in the place of all of that name. */
  setHeader(name: string, value: string): void;
  /** Adds a header beside those of that name. */
  addHeader(name: string, value: string): void;
  removeHeader(name: string): void;
  /** Only here does it cross into the component. */
  payload(): Uint8Array;
  setPayload(payload: Uint8Array | string): void;
}
export interface FrameExtension {
  /** Whether `handleFrame` is to see this frame. One that is not handled is neither copied nor looked at. */
  shouldHandle(head: FrameHead): boolean;
  /** Nothing lets it go on with what was changed; a Failure refuses it. */
  handleFrame(frame: Frame): Awaitable<"pass" | "drop" | undefined | void>;
}
export type HealthStatus = "serving" | "degraded" | "not-serving";
export interface Credentials {
  readonly scheme: string;
  readonly token: string;
}
export interface Identity {
  name: string;
  roles?: string[];
  claims?: Record<string, string>;
  /** Milliseconds for which the gateway may remember it. */
  valid?: number;
}

/** Runs once in each instance, before its first call. */
export function onStart(run: () => Awaitable<void>): typeof run;
/** Says whether the plugin can serve. */
export function health(
  check: () => Awaitable<HealthStatus | { status: HealthStatus; message?: string } | undefined | void>,
): typeof check;
/** Takes events of the topics that the manifest names. */
export function eventHandler(handle: (event: Event) => Awaitable<unknown>): typeof handle;
/** Sees calls on their way in: nothing goes on, a `reply(..)` answers, a Failure refuses. */
export function requestInterceptor(intercept: (request: Request) => Awaitable<Reply | undefined | void>): typeof intercept;
/** Sees what became of calls. A Failure takes the place of the outcome. */
export function responseInterceptor(
  intercept: (request: Request, response: Response) => Awaitable<void>,
): typeof intercept;
/** Places calls. There is one object per worker thread and service. */
export function balancer<B extends (new () => Balancer) | (() => Balancer)>(make: B): B;
/** Sees frames below the calls. There is one object for each instance. */
export function frameExtension<F extends (new () => FrameExtension) | (() => FrameExtension)>(make: F): F;
/** Says who calls; nothing: not mine to judge. */
export function authenticator(
  authenticate: (shown: Credentials) => Awaitable<Identity | undefined | void>,
): typeof authenticate;
/** Says what callers may do: throws `permission-denied`. */
export function authorizer(authorize: (service: string, method: string) => Awaitable<void>): typeof authorize;

export interface Http {
  method: string;
  /** `http` or `https`; empty where the request did not say. */
  scheme: string;
  authority: string;
  /** As the client sent it, percent-encoded. */
  path: string;
  query?: string;
}
export interface Peer {
  /** `tcp`, `udp`, `http`, `unix`, `memory` or `plugin`; others may come. */
  transport: string;
  address?: string;
}
export interface Principal {
  name: string;
  roles: string[];
}

/** The call that is being answered. */
export namespace call {
  function header(name: string): string | undefined;
  function headers(): [name: string, value: Uint8Array][];
  function http(): Http | undefined;
  function requestKind(): "message" | "messages" | "octets";
  /** In a streaming method, once its last message was taken. */
  function trailers(): [name: string, value: Uint8Array][];
  /** 200 to 599, for a client that came by HTTP. */
  function setStatus(status: number): void;
  /** What is sent are pieces of one body. */
  function setOctets(): void;
  function addHeader(name: string, value: string): void;
  function addTrailer(name: string, value: string): void;
  function peer(): Peer;
  function principal(): Principal | undefined;
  function claim(name: string): string | undefined;
  /** Milliseconds until the caller stops waiting. */
  function remaining(): number;
  function correlationId(): string;
  function traceparent(): string | undefined;
}

export type Level = "trace" | "debug" | "info" | "warn" | "error";
type Write = (message: string | (() => string), fields?: Record<string, unknown>) => void;
/** Lines in the gateway's log. A function is called only when the line is kept. */
export const log: {
  LEVELS: readonly Level[];
  enabled(level: Level): boolean;
  write(level: Level, message: string | (() => string), fields?: Record<string, unknown>): void;
  trace: Write;
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
};

/** The table `config` of the plugin's manifest. */
export const config: {
  get(key: string): string | undefined;
  get<T>(key: string, type: Type<T, any>): T | undefined;
  /** Throws `failed-precondition` where the key is absent. */
  require(key: string): string;
  require<T>(key: string, type: Type<T, any>): T;
  all(): Record<string, string>;
};

/** A persistent key/value store. Keys are 1 to 1,024 octets, values up to 1 MiB. */
export const kv: {
  get(key: string): any;
  get<T>(key: string, type: Type<T, any>): T | undefined;
  set(key: string, value: unknown): void;
  /** Whether there was such a key. */
  delete(key: string): boolean;
  remove(key: string): boolean;
  /** Sets a key that is absent. Whether it was. */
  insert(key: string, value: unknown): boolean;
  /** Reads, changes and writes in one step; gives what was written. */
  update(key: string, change: (value: any) => unknown): any;
  update<T, R extends T | undefined>(key: string, change: (value: T | undefined) => R, type: Type<T, any>): R;
  /** At most 1,000 keys in order. */
  keys(prefix?: string, options?: { after?: string; limit?: number }): string[];
  getOctets(key: string): Uint8Array | undefined;
  setOctets(key: string, value: Uint8Array | string): void;
  swapOctets(key: string, expected: Uint8Array | undefined, value: Uint8Array | undefined): boolean;
};

interface CallOptions {
  headers?: Record<string, string>;
  /** Milliseconds; shortens what is left of this call's own deadline. */
  timeout?: number;
}
/** Calls other services. The manifest grants them by name. */
export const client: {
  call(service: string, method: string, value?: unknown, options?: CallOptions): any;
  call<T>(service: string, method: string, value: unknown, options: CallOptions & { type: Type<T, any> }): T;
  callOctets(service: string, method: string, body?: Uint8Array | string, options?: CallOptions): Uint8Array;
};

/** Publishes events. The manifest grants topics by pattern. Gives how many subscribers there were. */
export const events: {
  publish(topic: string, value: unknown): number;
  publishOctets(topic: string, payload: Uint8Array | string, contentType?: string): number;
};

type MetricLabels = Record<string, string | number>;
/** The plugin's own counters, gauges and histograms, at the gateway's `/metrics`. Names and labels are letters, digits
 * and `_`; a plugin has 100 metrics and 1,000 series unless its manifest says more. */
export const metrics: {
  /** What a metric is for, and the upper bounds of a histogram's buckets. */
  declare(name: string, kind: "counter" | "gauge" | "histogram", help?: string, bounds?: number[]): void;
  /** Adds to a counter, 1 unless said. */
  increase(name: string, value?: number, labels?: MetricLabels): void;
  /** Sets a gauge. */
  set(name: string, value: number, labels?: MetricLabels): void;
  /** Adds to a gauge, or takes from it. */
  adjust(name: string, value: number, labels?: MetricLabels): void;
  /** Counts a value in a histogram. */
  observe(name: string, value: number, labels?: MetricLabels): void;
};

/** One that answers for a service. */
export interface ServiceInstance {
  id: string;
  /** Where it is reached: `tcp://10.0.0.7:9090`. Empty for a plugin of this gateway. */
  addresses: string[];
  version?: string;
  zone?: string;
  /** Its share of the calls beside others; 0 while it is taken out. */
  weight: number;
  metadata: Record<string, string>;
  /** Whether it answered when it was last asked. */
  healthy: boolean;
  /** Told by another gateway that is lost at present. */
  stale: boolean;
}
/** All instances of a service at one moment, in the order of ids. */
export interface Listing {
  /** Two listings of one service with the same revision are equal. */
  revision: string;
  instances: ServiceInstance[];
}
/** The listings of one service, one after the other. */
export interface Watch {
  /** The first at once, each further one when it is different; `undefined` when none was within `timeout` milliseconds. */
  next(timeout: number): Listing | undefined;
}
/** Who answers for a service. The manifest grants services by name. */
export const directory: {
  discover(service: string): Listing;
  /** `undefined` when nothing was different within `timeout` milliseconds. */
  nextChange(service: string, revision: string, timeout: number): Listing | undefined;
  watch(service: string): Watch;
};
