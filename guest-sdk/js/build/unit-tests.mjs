// What `test.mjs` decides before it runs anything.

import { relative, resolve } from "node:path";

import { BuildError } from "./project.mjs";

const OPTIONS = ["--work", "--tools"];
const USAGE = "usage: test.mjs PROJECT [--work FOLDER] [--tools FOLDER] [--] [ARGUMENTS OF node --test]";

/** The project's folder, the options of `test.mjs`, which come first, and those of the runner. */
export function argumentsOf(argv) {
  const rest = [...argv];
  const values = {};
  let folder;
  while (rest.length) {
    if (OPTIONS.includes(rest[0]) && rest.length > 1) values[rest.shift().slice(2)] = rest.shift();
    else if (folder === undefined && !rest[0].startsWith("-")) folder = rest.shift();
    else break;
  }
  if (rest[0] === "--") rest.shift();
  if (folder === undefined) throw new BuildError(USAGE);
  return { folder, values, runner: rest };
}

/** The names of bundles of tests, one for each. Those of `x.test.js` and `x.test.ts`, of `a-b` and `a/b`
 * differ, and none is one that `node --test` finds by itself. */
export function outputNames(folder, tests) {
  return tests.map((test, index) => `${index}-${relative(folder, test).replace(/[\\/]/g, "-")}.mjs`);
}

/** The project's own `paths`, as TypeScript has read them, beside those of the SDK, all from the root. */
export function pathsOf({ paths = {}, baseUrl, pathsBasePath }, own) {
  const base = baseUrl ?? pathsBasePath ?? ".";
  const absolute = Object.entries(paths).map(([name, targets]) => [name, targets.map((target) => resolve(base, target))]);
  return { ...Object.fromEntries(absolute), ...own };
}
