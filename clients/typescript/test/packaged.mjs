// The package as it is published, by `import` and by `require`, with every entry.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const home = mkdtempSync(join(tmpdir(), "fuseboard-"));
try {
  mkdirSync(join(home, "node_modules"));
  symlinkSync(process.cwd(), join(home, "node_modules", "fuseboard"));
  const run = (...flags) => execFileSync(process.execPath, flags, { cwd: home, encoding: "utf8" }).trim();
  const entries = [
    "fuseboard",
    ...["express", "fastify", "fetch", "jobs", "websocket", "testing"].map((e) => `fuseboard/${e}`),
  ];
  const [imports, requires] = [entries.map((e) => `await import("${e}")`), entries.map((e) => `require("${e}")`)];
  const names =
    "map((m) => Object.keys(m).filter((n) => n !== 'default' && n !== 'module.exports' && n !== '__esModule').sort())";
  const esm = run("--input-type=module", "-e", `console.log(JSON.stringify([${imports}].${names}))`);
  const cjs = run("--input-type=commonjs", "-e", `console.log(JSON.stringify([${requires}].${names}))`);
  assert.ok(JSON.parse(esm).every((keys) => keys.length > 0));
  assert.equal(cjs, esm);
  run(
    "--input-type=commonjs",
    "-e",
    "const { CircuitBreaker } = require('fuseboard'); new CircuitBreaker().execute(() => 1)",
  );
  console.log(`${entries.length} entries, by import and by require`);
} finally {
  rmSync(home, { recursive: true });
}
