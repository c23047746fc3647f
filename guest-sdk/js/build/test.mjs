// Runs a project's unit tests with node:test: `node build/test.mjs PROJECT --tools FOLDER -- ARGUMENTS`.
//
// TypeScript is checked first, and bundled, since not every Node takes it as it is. Tests are the files
// `*.test.js`, `*.test.mjs` and `*.test.ts` of the project and of its folders.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { BuildError, Project, SDK } from "./project.mjs";
import { argumentsOf, outputNames, pathsOf } from "./unit-tests.mjs";

async function main() {
  const { folder, values, runner } = argumentsOf(process.argv.slice(2));
  const project = new Project(folder, values);
  const tests = [...find(project.folder)].sort();
  if (tests.length === 0) {
    console.log("no unit tests: files *.test.js or *.test.ts");
    return 0;
  }
  const checked = existsSync(join(project.folder, "tsconfig.json")) ? check(project) : 0;
  if (checked) return checked;
  rmSync(join(project.work, "tests"), { recursive: true, force: true });
  const outputs = await bundleTests(project, tests);
  return spawnSync(process.execPath, ["--enable-source-maps", "--test", ...runner, ...outputs], { stdio: "inherit", cwd: project.folder }).status ?? 1;
}

function* find(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* find(path);
    else if (/\.test\.(js|mjs|ts)$/.test(entry.name)) yield path;
  }
}

function check(project) {
  const typescript = project.tool("typescript");
  const compiler = join(dirname(project.require.resolve("typescript/package.json")), "bin", "tsc");
  // The types of the SDK that builds, whether the project has a copy or not.
  const types = { postern: [join(SDK, "types", "index.d.ts")], "postern/testing": [join(SDK, "types", "testing.d.ts")] };
  const own = join(project.folder, "tsconfig.json");
  // What cannot be read is told by the compiler itself.
  const host = { ...typescript.sys, onUnRecoverableConfigFileDiagnostic() {} };
  const { options = {} } = typescript.getParsedCommandLineOfConfigFile(own, {}, host) ?? {};
  const settings = { extends: own, compilerOptions: { paths: pathsOf(options, types) } };
  const path = project.write("tsconfig.json", JSON.stringify(settings));
  const { status } = spawnSync(process.execPath, [compiler, "--noEmit", "-p", path], { stdio: "inherit", cwd: project.folder });
  return status ?? 1;
}

/** Every test with the project's source in it; the SDK comes from this folder. */
async function bundleTests(project, tests) {
  const outputs = [];
  const names = outputNames(project.folder, tests);
  for (const [index, test] of tests.entries()) {
    outputs.push(await project.bundle(`import ${JSON.stringify(test)};\n`, join("tests", names[index]), { isNative: true }));
  }
  return outputs;
}

main().then(
  (status) => (process.exitCode = status),
  (error) => {
    console.error(error instanceof BuildError ? `error: ${error.message}` : error);
    process.exitCode = 1;
  },
);
