// Builds the package twice, for `import` and for `require`, and the tests beside.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";

const tsc = (...options) => execFileSync("node_modules/.bin/tsc", options, { stdio: "inherit" });

rmSync("dist", { recursive: true, force: true });
rmSync("build", { recursive: true, force: true });
tsc("--outDir", "build/all");
// What a file is compiled to goes by the package.json beside its source.
mkdirSync("build/cjs", { recursive: true });
cpSync("src", "build/cjs/src", { recursive: true });
writeFileSync("build/cjs/package.json", '{ "type": "commonjs" }\n');
writeFileSync(
  "build/cjs/tsconfig.json",
  JSON.stringify({ extends: "../../tsconfig.json", compilerOptions: { rootDir: "src" }, include: ["src"] }),
);
tsc("--project", "build/cjs/tsconfig.json", "--outDir", "dist/cjs");
writeFileSync("dist/cjs/package.json", '{ "type": "commonjs" }\n');
cpSync("build/all/src", "dist/esm", { recursive: true });
