/** The globals of a component beside those of ECMAScript 2023. Projects that have the types of the DOM or
 * of Node keep those. */

declare global {
  interface Console {
    log(...values: any[]): void;
    info(...values: any[]): void;
    debug(...values: any[]): void;
    trace(...values: any[]): void;
    warn(...values: any[]): void;
    error(...values: any[]): void;
    assert(isTrue?: boolean, ...values: any[]): void;
    count(label?: string): void;
    time(label?: string): void;
    timeEnd(label?: string): void;
  }
  var console: Console;

  function setTimeout<V extends any[]>(run: (...values: V) => void, ms?: number, ...values: V): any;
  function setInterval<V extends any[]>(run: (...values: V) => void, ms?: number, ...values: V): any;
  function clearTimeout(id: any): void;
  function clearInterval(id: any): void;
  function queueMicrotask(run: () => void): void;
  function structuredClone<T>(value: T): T;
  function atob(text: string): string;
  function btoa(text: string): string;

  interface TextEncoder {
    readonly encoding: string;
    encode(text?: string): Uint8Array;
    encodeInto(text: string, target: Uint8Array): { read: number; written: number };
  }
  var TextEncoder: typeof globalThis extends { onmessage: any; TextEncoder: infer T } ? T : { new (): TextEncoder };
  interface TextDecoder {
    readonly encoding: string;
    decode(octets?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
  }
  var TextDecoder: typeof globalThis extends { onmessage: any; TextDecoder: infer T } ? T : { new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder };

  interface URLSearchParams extends Iterable<[string, string]> {
    readonly size: number;
    append(name: string, value: string): void;
    delete(name: string, value?: string): void;
    get(name: string): string | null;
    getAll(name: string): string[];
    has(name: string, value?: string): boolean;
    set(name: string, value: string): void;
    sort(): void;
    toString(): string;
  }
  var URLSearchParams: typeof globalThis extends { onmessage: any; URLSearchParams: infer T } ? T : { new (init?: string | Record<string, string> | Iterable<[string, string]>): URLSearchParams };
  interface URL {
    href: string;
    readonly origin: string;
    protocol: string;
    username: string;
    password: string;
    host: string;
    hostname: string;
    port: string;
    pathname: string;
    search: string;
    readonly searchParams: URLSearchParams;
    hash: string;
    toString(): string;
    toJSON(): string;
  }
  var URL: typeof globalThis extends { onmessage: any; URL: infer T } ? T : { new (url: string | URL, base?: string | URL): URL; canParse(url: string, base?: string): boolean };

  interface Crypto {
    getRandomValues<T extends ArrayBufferView>(target: T): T;
    randomUUID(): `${string}-${string}-${string}-${string}-${string}`;
  }
  var crypto: Crypto;
}

export {};
