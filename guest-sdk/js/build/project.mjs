// A project: where its source is, what it needs, and its bundle.

import { createRequire } from "node:module";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Where the source is looked for, in this order, unless package.json names it: `"postern": { "entry": ".." }`. */
const ENTRIES = ["src/index.ts", "src/index.js", "index.ts", "index.js", "plugin.ts", "plugin.js"];

/** The engine of a synchronous component runs no jobs of its own promises: `async` is compiled to
 * generators and the promises of `src/runtime/promise.js`. */
const LOWERED = { "async-await": false, "async-generator": false, "for-await": false };

/** Imports that a component has when the project uses their modules. */
const OPTIONAL_IMPORTS = ["kv", "client", "events", "metrics", "directory"];

export const SDK = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Why there is no component; the message has the remedy. */
export class BuildError extends Error {}

export class Project {
  constructor(folder, { work, tools }) {
    this.folder = resolve(folder);
    this.work = resolve(work ?? join(this.folder, ".postern", "build"));
    this.require = createRequire(join(resolve(tools ?? this.folder), "package.json"));
    this.settings = this.#settings();
    this.entry = this.#entry();
    mkdirSync(this.work, { recursive: true });
  }

  #settings() {
    const path = join(this.folder, "package.json");
    if (!existsSync(path)) return {};
    try {
      return JSON.parse(readFileSync(path, "utf8"));
    } catch (error) {
      throw new BuildError(`${path}: ${error.message}`);
    }
  }

  #entry() {
    const named = this.settings.postern?.entry;
    if (named && !existsSync(join(this.folder, named))) throw new BuildError(`${join(this.folder, named)} is not there: package.json names it as postern.entry`);
    const found = named ?? ENTRIES.find((each) => existsSync(join(this.folder, each)));
    if (!found) throw new BuildError(`${this.folder} has none of ${ENTRIES.join(", ")}: name the source in package.json, "postern": { "entry": ".." }`);
    return join(this.folder, found);
  }

  /** A tool of the pinned ones. */
  tool(name) {
    try {
      return this.require(name);
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") throw error;
      throw new BuildError(`${name} is not installed: run \`npm install\` with tools.json of the SDK as package.json and name the folder with --tools`);
    }
  }

  /** Bundles source text that imports the project as `project`. */
  async bundle(source, out, { isNative = false, isAsync = false } = {}) {
    const options = {
      stdin: { contents: source, resolveDir: this.folder, sourcefile: "postern-glue.js" },
      outfile: join(this.work, out),
      bundle: true,
      format: "esm",
      platform: isNative ? "node" : "neutral",
      mainFields: ["module", "main"],
      conditions: ["import", "module", "default"],
      target: "es2023",
      supported: isNative || isAsync ? {} : LOWERED,
      alias: this.#aliases(),
      external: ["postern:*", "wasi:*"],
      sourcemap: isNative ? "inline" : false,
      nodePaths: [join(this.folder, "node_modules")],
      charset: "utf8",
      legalComments: "none",
      metafile: true,
      absWorkingDir: this.folder,
      logLevel: "silent",
    };
    let result;
    try {
      result = await this.tool("esbuild").build(options);
    } catch (error) {
      if (!error.errors) throw error;
      throw new BuildError(error.errors.map(faultOf).join("\n"));
    }
    this.bundled = Object.values(result.metafile.outputs)
      .flatMap((output) => Object.entries(output.inputs))
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([path]) => resolve(this.folder, path));
    return options.outfile;
  }

  #aliases() {
    const own = { postern: "src/index.js", "postern/testing": "src/testing.js", "postern/component": "src/component.js", "postern/http": "src/http.js", "postern/globals": "src/runtime/globals.js", "postern/async-component": "src/async-component.js", "postern/async-globals": "src/runtime/install-async.js", "postern/entry": "src/entry.js", "postern/roles": "src/roles.js", "postern/service": "src/service.js" };
    const aliases = Object.fromEntries(Object.entries(own).map(([name, path]) => [name, join(SDK, path)]));
    return { ...aliases, project: this.entry };
  }

  /** Roles and services that the module marks when it is evaluated, the types they name, and the imports
   * whose modules it uses. */
  async load() {
    const source = 'import "project";\nexport { roles } from "postern/roles";\nexport { services, schemasOf } from "postern/service";\n';
    const path = await this.bundle(source, "roles.mjs", { isNative: true });
    let found;
    try {
      found = await import(`${pathToFileURL(path)}?${Date.now()}`);
    } catch (error) {
      throw new BuildError(`${this.entry} cannot be evaluated: ${error.stack ?? error}`);
    }
    const used = OPTIONAL_IMPORTS.filter((name) => this.bundled.includes(join(SDK, "src", `${name}.js`)));
    return { roles: found.roles, services: found.services(), schemas: found.schemasOf(found.services()), used };
  }

  write(path, text) {
    const whole = join(this.work, path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, text);
    return whole;
  }
}

function faultOf({ text, location }) {
  const place = location ? `${location.file}:${location.line}:${location.column}: ` : "";
  const isNode = /Could not resolve "(node:|fs|path|crypto|http|https|net|os|stream|util|buffer|events)/.test(text);
  return `${place}${text}${isNode ? "; modules of Node are not there in a component" : ""}`;
}
