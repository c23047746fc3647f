// Makes a component of a project:
//
//     node build/componentize.mjs PROJECT --wit WIT --out FILE --work FOLDER --tools FOLDER
//
// Written to the work folder are the world with just the project's roles and the bundle. Without `--out`
// it only tells what is in it.

import { copyFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { join, resolve } from "node:path";

import { HTTP_GLUE, isHttp, withStandIns, withoutStandIns, writeHttpWorld } from "./http.mjs";
import { BuildError, Project } from "./project.mjs";
import { exportsOf, glueText, importsOf, isAsynchronous, readPackage, writeWorld } from "./world.mjs";

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { wit: { type: "string" }, out: { type: "string" }, work: { type: "string" }, tools: { type: "string" } },
  });
  if (positionals.length !== 1 || !values.wit) throw new BuildError("usage: componentize.mjs PROJECT --wit WIT [--out FILE] [--work FOLDER] [--tools FOLDER]");
  const project = new Project(positionals[0], values);
  if (isHttp(project.settings)) {
    console.log(JSON.stringify({ exports: project.settings.postern.exports, entry: project.entry }));
    if (values.out) await componentizeHttp(project, resolve(values.out));
    return;
  }
  const { version, hasText } = readPackage(values.wit);
  const made = await project.load();
  const exported = exportsOf(made, hasText);
  const imports = importsOf(exported, made.used);
  console.log(JSON.stringify({ roles: exported, entry: project.entry }));
  if (values.out) await componentize(project, resolve(values.wit), resolve(values.out), exported, imports, version);
}

async function componentize(project, wit, out, exported, imports, version) {
  const world = join(project.work, "wit");
  writeWorld(world, wit, exported, imports, version);
  const isAsync = isAsynchronous(exported);
  const bundle = await project.bundle(glueText(exported, imports, version), "component.js", { isAsync });
  put(project, await run(project, world, readFileSync(bundle, "utf8"), bundle, !isAsync), out);
}

async function componentizeHttp(project, out) {
  const world = join(project.work, "wit");
  writeHttpWorld(world);
  const bundle = await project.bundle(HTTP_GLUE, "component.js");
  put(project, withoutStandIns(await run(project, world, withStandIns(readFileSync(bundle, "utf8")), bundle, true)), out);
}

/** The component of a bundle; one whose functions are all synchronous costs its calls less. */
async function run(project, world, jsSource, bundle, sync) {
  try {
    const made = await project.tool("componentize-qjs").componentize({ witPath: world, world: "guest", jsSource, jsPath: bundle, sync });
    return made.component;
  } catch (error) {
    throw new BuildError(`componentize-qjs failed: ${error.message}`);
  }
}

function put(project, component, out) {
  const made = join(project.work, "component.wasm");
  writeFileSync(made, component);
  try {
    renameSync(made, out);
  } catch (error) {
    if (error.code !== "EXDEV") throw error;
    // Another file system: a copy beside it, then a rename.
    copyFileSync(made, `${out}.part`);
    renameSync(`${out}.part`, out);
  }
}

main().catch((error) => {
  console.error(error instanceof BuildError ? `error: ${error.message}` : error);
  process.exitCode = 1;
});
