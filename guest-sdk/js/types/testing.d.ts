/** A host for unit tests: no gateway, no component. */

import type { Failure, FrameHead, HealthStatus, Http, Identity, Instance, Level, Peer, Principal, Service, ServiceInstance } from "./index.js";

export interface Line {
  level: Level;
  message: string;
  fields: Record<string, string>;
}
export interface ClientCall {
  service: string;
  method: string;
  body: Uint8Array;
  headers: Record<string, string>;
  timeout: number | undefined;
}
export interface Published {
  topic: string;
  payload: Uint8Array;
  contentType: string | undefined;
}

/** An empty host; making one puts it in place, as a new instance of the plugin. */
export class Host {
  constructor(options?: { config?: Record<string, unknown> });
  /** Takes it away. */
  close(): void;

  /** Answers calls that the plugin makes, and grants the service. */
  answer(service: string, method: string, reply: unknown | ((call: ClientCall) => unknown)): this;
  topic(topic: string, subscribers?: number): this;
  /** Says who answers for a service, and grants looking it up. */
  service(service: string, instances: (Partial<ServiceInstance> & { id: string })[]): this;
  failKv(failure?: Failure): this;
  logLevel(level: Level): this;
  /** Says what the calls that follow know of their caller; `remaining` in milliseconds. */
  context(known: {
    headers?: Record<string, string | Uint8Array>;
    trailers?: Record<string, string | Uint8Array>;
    http?: Http;
    requestKind?: "message" | "messages" | "octets";
    peer?: Peer;
    principal?: Principal;
    claims?: Record<string, string>;
    remaining?: number;
    correlationId?: string;
    traceparent?: string;
  }): this;
  /** The caller of the next stream leaves after so many replies. */
  leaveAfter(messages: number): this;

  call(service: Service, method: string, value?: unknown): Promise<any>;
  callOctets(service: Service, method: string, body?: Uint8Array): Promise<Uint8Array>;
  stream(service: Service, method: string, messages?: Iterable<unknown>): Promise<any[]>;
  /** Calls the handler of asynchronous streams; messages are octets or values as JSON, and a Failure is what
   * the request ends with. Gives the messages of the reply. */
  asyncStream(service: string, method: string, messages?: Iterable<unknown>): Promise<Uint8Array[]>;
  streamOctets(service: Service, method: string, messages?: Iterable<unknown>): Promise<Uint8Array[]>;
  event(topic: string, payload: unknown, contentType?: string): Promise<void>;
  health(): Promise<{ status: HealthStatus; message?: string }>;
  exchange(service: string, method: string, payload?: unknown, options?: { headers?: Record<string, string> }): Exchange;
  frame(frame?: {
    kind?: FrameHead["kind"];
    direction?: FrameHead["direction"];
    headers?: Record<string, string>;
    payload?: Uint8Array;
    flagBits?: number;
  }): Framed;
  balancing(instances: (Partial<Instance> & { id: string })[]): Balancing;
  authenticate(scheme: string, token: string): Promise<Identity | undefined>;
  authorize(service: string, method: string): Promise<void>;

  readonly log: Line[];
  readonly kv: Map<string, Uint8Array>;
  readonly clientCalls: ClientCall[];
  /** A counter or a gauge, of a histogram the sum. */
  metric(name: string, labels?: Record<string, string | number>): number | undefined;
  observed(name: string, labels?: Record<string, string | number>): number[];
  readonly published: Published[];
  readonly sent: Uint8Array[];
  readonly reply: {
    headers: [string, string][];
    trailers: [string, string][];
    status: number | undefined;
    isOctets: boolean;
  };
}

/** A call on its way through interceptors. */
export class Exchange {
  headers: Record<string, string>;
  payload: Uint8Array;
  reply: Uint8Array | undefined;
  replyHeaders: Record<string, string>;
  failure: Failure | undefined;
  readonly crossings: number;
  /** Whether it was answered. */
  onRequest(): Promise<boolean>;
  /** What the caller gets. */
  onResponse(outcome?: { reply?: unknown; failure?: Failure; elapsed?: number }): Promise<any>;
}

/** A frame on its way through a frame extension. */
export class Framed {
  headers: [string, string][];
  payload: Uint8Array;
  /** Whether the frame extension wanted to see it. */
  readonly isSeen: boolean;
  readonly crossings: number;
  enter(): Promise<"pass" | "drop">;
}

/** A balancer that was told of instances. */
export class Balancing {
  pick(key: number, options?: { unusable?: number[]; random?: number }): number | undefined;
  done(index: number, outcome?: "success" | "failure" | "timeout", micros?: number): void;
}
