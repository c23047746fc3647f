// Components of `wasi:http`: projects whose package.json says
//
//     "postern": { "exports": "wasi:http/incoming-handler" }
//
// They bring a handler as `jco` takes it, and have no role of this gateway. Shapes: wasi-http/*.wit.
//
// componentize-qjs evaluates a component once in a host of its own, which has the real `wasi:io` and refuses other
// interfaces with its resources. So the two packages have a name there that no host knows, of the same length, and get
// theirs in the component that was made.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { BuildError } from "./project.mjs";
import { WASI } from "./world.mjs";

/** What a project may export in the place of our roles. */
const EXPORTS = "wasi:http/incoming-handler";
/** The version that the component imports and exports. One that the engine's own imports have would be of two
 * shapes. */
const VERSION = "0.2.6";
const STAND_IN = "wasj:";
const PACKAGES = fileURLToPath(new URL("wasi-http", import.meta.url));
/** Of the engine's version: what the globals need. */
const OWN = {
  random: `package wasi:random@${WASI};\n\ninterface random {\n    get-random-bytes: func(len: u64) -> list<u8>;\n}\n`,
  io: `package wasi:io@${WASI};\n\ninterface error {\n    resource error {}\n}\n\ninterface poll {\n    resource pollable {\n        block: func();\n    }\n}\n\ninterface streams {\n    use error.{error};\n\n    variant stream-error {\n        last-operation-failed(error),\n        closed,\n    }\n\n    resource output-stream {\n        blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;\n    }\n}\n`,
  clocks: `package wasi:clocks@${WASI};\n\ninterface monotonic-clock {\n    use wasi:io/poll@${WASI}.{pollable};\n    type duration = u64;\n    subscribe-duration: func(when: duration) -> pollable;\n}\n`,
  cli: `package wasi:cli@${WASI};\n\ninterface stderr {\n    use wasi:io/streams@${WASI}.{output-stream};\n    get-stderr: func() -> output-stream;\n}\n`,
};

/** Whether a project is of this kind. Throws for what no build knows. */
export function isHttp({ postern = {} }) {
  if (postern.exports !== undefined && postern.exports !== EXPORTS) throw new BuildError(`package.json has "postern": { "exports": ${JSON.stringify(postern.exports)} }: it may be "${EXPORTS}", or left out for a plugin with roles`);
  return postern.exports !== undefined;
}

/** Writes the world and its packages to a folder. */
export function writeHttpWorld(folder) {
  rmSync(folder, { recursive: true, force: true });
  const dependency = (name, file, text) => {
    mkdirSync(join(folder, "deps", name), { recursive: true });
    writeFileSync(join(folder, "deps", name, file), text);
  };
  for (const file of readdirSync(PACKAGES)) dependency(`http-${file.slice(0, -4)}`, file, readFileSync(join(PACKAGES, file), "utf8").replaceAll("wasi:", STAND_IN));
  for (const [name, text] of Object.entries(OWN)) dependency(name, `${name}.wit`, text);
  const own = ["random/random", "clocks/monotonic-clock", "cli/stderr"].map((name) => `    import wasi:${name}@${WASI};\n`);
  writeFileSync(join(folder, "world.wit"), `package postern:generated;\n\nworld guest {\n${own.join("")}    export ${STAND_IN}http/incoming-handler@${VERSION};\n}\n`);
}

/** The module that exports the handler. The globals come first, then the project. */
export const HTTP_GLUE = [
  'import "postern/globals";',
  'import * as project from "project";',
  'import { handlerOf } from "postern/http";',
  `import * as random from "wasi:random/random@${WASI}";`,
  `import * as monotonicClock from "wasi:clocks/monotonic-clock@${WASI}";`,
  `import * as stderr from "wasi:cli/stderr@${WASI}";`,
  "export const incomingHandler = handlerOf(project, { random, monotonicClock, stderr });",
  "",
].join("\n");

/** The bundle with the names of the world: of whichever version of 0.2 the project asks for the interfaces. */
export function withStandIns(bundle) {
  return bundle.replace(/(["'])wasi:(http|io)\/([a-z-]+)(@0\.2\.\d+)?\1/g, (_, quote, name, face) => `${quote}${STAND_IN}${name}/${face}@${VERSION}${quote}`);
}

/** The component with the names of WASI. */
export function withoutStandIns(component) {
  for (let at = component.indexOf(STAND_IN); at >= 0; at = component.indexOf(STAND_IN, at)) component.write("wasi:", at);
  return component;
}
