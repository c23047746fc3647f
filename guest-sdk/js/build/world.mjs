// The world of a component: just the roles that a project has, and what they import.

import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { BuildError } from "./project.mjs";

/** The version of WASI that componentize-qjs of tools.json imports. */
export const WASI = "0.2.12";

/** The role whose component runs the jobs of the engine's own promises. */
const ASYNC = "async-stream-handler";

/** Interfaces that a role brings along as imports. */
const ROLE_IMPORTS = { balancer: ["candidates"], "frame-extension": ["frame"], "request-interceptor": ["request", "response"], "response-interceptor": ["request", "response"], [ASYNC]: ["async-call"] };

/** Imports of every component. */
const IMPORTS = ["call", "log", "config"];

/** As much of WASI as the runtime uses: octets of chance, and waiting. */
const WASI_PACKAGES = {
  random: `package wasi:random@${WASI};\n\ninterface random {\n    get-random-bytes: func(len: u64) -> list<u8>;\n}\n`,
  io: `package wasi:io@${WASI};\n\ninterface poll {\n    resource pollable {\n        block: func();\n    }\n}\n`,
  clocks: `package wasi:clocks@${WASI};\n\ninterface monotonic-clock {\n    use wasi:io/poll@${WASI}.{pollable};\n    type duration = u64;\n    subscribe-duration: func(when: duration) -> pollable;\n}\n`,
};

/** The interfaces that a component exports. `hasText`: the package knows `text-handler`. */
export function exportsOf({ roles, services, schemas }, hasText) {
  if (roles.asyncStreamHandler) return asyncExportsOf(roles, services);
  const methods = services.flatMap((service) => service.all().map(([, method]) => method));
  const unary = methods.filter((method) => method.kind === "unary");
  const found = [];
  // Text crosses without a conversion in JavaScript, which costs more than batches save.
  if (unary.length && hasText && unary.every((method) => method.isText)) found.push("text-handler");
  else if (unary.length) found.push("handler", "batch-handler");
  if (methods.length > unary.length) found.push("stream-handler");
  if (services.length) found.push("describe");
  if (schemas.length) found.push("schemas");
  for (const role of ["eventHandler", "requestInterceptor", "responseInterceptor", "frameExtension", "balancer", "authenticator", "authorizer"]) {
    if (roles[role]) found.push(role.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
  }
  if (found.length === 0) throw new BuildError("the project has no role: make a service with methods, or mark a function");
  return [...found, "health"];
}

/** Functions that the gateway enters without waiting cannot give promises of an engine that runs on. */
function asyncExportsOf(roles, services) {
  const others = Object.keys(roles).filter((role) => !["asyncStreamHandler", "onStart", "health"].includes(role));
  if (services.length) others.push(`service(${services.map(({ name }) => name).join(", ")})`);
  if (others.length) throw new BuildError(`a component with asyncStreamHandler has no other roles: put ${others.join(", ")} into a plugin of its own`);
  return [ASYNC, "health"];
}

/** Whether a component with these exports runs on after a function has returned. */
export const isAsynchronous = (exported) => exported.includes(ASYNC);

/** Version and text of the package postern:gateway in a folder. */
export function readPackage(wit) {
  const text = readdirSync(wit)
    .filter((name) => name.endsWith(".wit"))
    .map((name) => readFileSync(join(wit, name), "utf8"))
    .join("\n");
  const version = /^package postern:gateway@([^;]+);/m.exec(text)?.[1];
  if (!version) throw new BuildError(`${wit} has no package postern:gateway`);
  return { version, hasText: /^interface text-handler\b/m.test(text) };
}

/** The interfaces that a component imports. One that has no `kv` and no `client` is known not to wait, and
 * an interceptor is then entered directly. */
export function importsOf(exported, used) {
  return [...IMPORTS, ...used, ...new Set(exported.flatMap((role) => ROLE_IMPORTS[role] ?? []))];
}

/** The world as text. */
export function worldText(exported, imports, version) {
  const lines = [
    `import wasi:random/random@${WASI};`,
    ...(isAsynchronous(exported) ? [] : [`import wasi:clocks/monotonic-clock@${WASI};`]),
    ...imports.map((name) => `import postern:gateway/${name}@${version};`),
    ...exported.map((role) => `export postern:gateway/${role}@${version};`),
  ];
  return `package postern:generated;\n\nworld guest {\n${lines.map((line) => `    ${line}\n`).join("")}}\n`;
}

/** Writes world and packages to a folder. */
export function writeWorld(folder, wit, exported, imports, version) {
  rmSync(folder, { recursive: true, force: true });
  const dependencies = join(folder, "deps");
  cpSync(wit, join(dependencies, "postern-gateway"), { recursive: true });
  for (const [name, text] of Object.entries(WASI_PACKAGES)) {
    mkdirSync(join(dependencies, name), { recursive: true });
    writeFileSync(join(dependencies, name, `${name}.wit`), text);
  }
  writeFileSync(join(folder, "world.wit"), worldText(exported, imports, version));
}

const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());

/** The module that exports the roles. The globals come first, then the project. */
export function glueText(exported, imports, version) {
  const names = exported.map(camel);
  const isAsync = isAsynchronous(exported);
  const wasi = isAsync ? ["random"] : ["random", "monotonicClock"];
  return [
    `import "postern/${isAsync ? "async-globals" : "globals"}";`,
    'import "project";',
    `import { link } from "postern/${isAsync ? "async-component" : "component"}";`,
    ...imports.map((name) => `import * as ${camel(name)} from "postern:gateway/${name}@${version}";`),
    `import * as random from "wasi:random/random@${WASI}";`,
    ...(isAsync ? [] : [`import * as monotonicClock from "wasi:clocks/monotonic-clock@${WASI}";`]),
    `const linked = link({ ${[...imports.map(camel), ...wasi].join(", ")} });`,
    ...names.map((name) => `export const ${name} = linked.${name};`),
    "",
  ].join("\n");
}
