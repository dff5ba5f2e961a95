// The dashboard in a real browser, against the built server: what an operator sees and does at night.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import packed from "@sparticuz/chromium";
import { chromium } from "playwright-core";

const ROOT = resolve(import.meta.dirname, "../../..");
const PATIENCE_MS = 20_000;
const SCREENSHOTS = process.env.SCREENSHOTS;

const servers = [];
let base;
let browser;
let page;
let problems;

/** The built binary on ports that the system chooses, which its log tells. */
async function start(...flags) {
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  const binary = resolve(process.env.FUSEBOARD_BIN ?? join(target, "release", "fuseboard"));
  const any = "127.0.0.1:0";
  const settings = ["--ephemeral", "--address", any, "--http-address", any, "--log-format", "json"];
  const server = spawn(binary, ["serve", ...settings, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  servers.push(server);
  process.once("exit", () => server.kill("SIGKILL"));
  let log = "";
  for await (const text of server.stderr.setEncoding("utf8")) {
    log += text;
    const line = log.split("\n").find((found) => found.includes('"serving"'));
    if (line) return `http://${JSON.parse(line).http}`;
  }
  throw new Error(`fuseboard ended at its start:\n${log}`);
}

async function send(method, path, body = {}) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${base}/api/v1/${path}`, { method, headers, body: JSON.stringify(body) });
  return response.json();
}

/** Calls with an outcome, from several callers. */
async function call(key, outcome, times) {
  const path = `breakers/${encodeURIComponent(key)}`;
  for (let number = 0; number < times; number += 1) {
    const { permit } = await send("POST", `${path}/acquire`, { caller: `web/${number % 3}` });
    if (permit) await send("POST", `${path}/report`, { permit, outcome });
  }
}

async function open(hash = "#/", options = {}, shown = ".live.on") {
  // Each open page holds an event stream, and a browser opens six connections to a server over HTTP/1.1.
  await page?.goto("about:blank");
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("dialog", (dialog) => problems.push(dialog.message()));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.goto(`${base}/${hash}`);
  await page.waitForSelector(shown);
}

const screenshot = (name) =>
  SCREENSHOTS && page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: name !== "board" });

before(async () => {
  base = await start();
  browser = await chromium.launch({ executablePath: await packed.executablePath(), args: packed.args, headless: true });
});
beforeEach(() => {
  problems = [];
});
after(async () => {
  await browser?.close();
  for (const server of servers) {
    server.kill("SIGTERM");
    if (server.exitCode === null) await once(server, "exit");
  }
});

test("a breaker is seen to open, is forced closed with a reason, and the history tells by whom", async () => {
  for (const key of ["payments/charge", "payments/refund", "mail/send", "search/query", "db"]) {
    await call(key, "OUTCOME_SUCCESS", 6);
  }
  await open();
  await page.waitForSelector(".row");
  assert.equal(await page.locator(".row.open").count(), 0);
  await call("payments/charge", "OUTCOME_TIMEOUT", 14);
  await page.waitForSelector(".row.open");
  assert.deepEqual(await page.locator(".row.open .name").allTextContents(), ["payments/charge"]);
  await screenshot("board");

  await page.click(".row.open");
  await page.waitForSelector(".chart");
  await page.getByRole("button", { name: "Force closed" }).click();
  await page.fill("dialog input[name=actor]", "ana");
  await page.fill("dialog input[name=reason]", "the provider is back");
  await page.selectOption("dialog select", "300s");
  await page.locator("dialog button[type=submit]").click();
  await page.waitForSelector(".pill.held");
  await page.waitForFunction(() => document.querySelector(".timeline li")?.textContent.includes("override set"));
  assert.match(await page.locator(".timeline li").first().textContent(), /ana: the provider is back/);
  await screenshot("breaker");
  assert.deepEqual(problems, []);
});

/** Does what an open dialog asks for. */
async function confirm(reason, id) {
  await page.fill("dialog input[name=actor]", "ana");
  await page.fill("dialog input[name=reason]", reason);
  if (id) await page.fill("dialog input[name=id]", id);
  await page.locator("dialog button[type=submit]").click();
  await page.waitForFunction(() => !document.querySelector("dialog"));
}

test("all overrides are listed, the one in force is marked, and each is cleared by its id", async () => {
  const key = "held/twice";
  const said = { mode: "OVERRIDE_MODE_SHADOW", actor: "bo", reason: "a drill", id: "drill", expireAfter: "600s" };
  await send("PUT", `breakers/${encodeURIComponent(key)}/override`, said);
  await open(`#/breakers/${encodeURIComponent(key)}`);
  await page.waitForSelector(".overrides li");
  await page.getByRole("button", { name: "Force open" }).click();
  await confirm("the provider is down", "incident-7");
  const rows = () => page.locator(".overrides li").allTextContents();
  await page.waitForFunction(() => document.querySelectorAll(".overrides li").length === 2);
  const [first, second] = await rows();
  assert.match(first, /forced open.*incident-7.*in force.*by ana: the provider is down.*until it is cleared/);
  assert.match(second, /shadow.*drill.*by bo: a drill.*until /);
  assert.equal(await page.locator(".overrides .mark").count(), 1);

  await page.getByRole("button", { name: "Clear override incident-7" }).click();
  await confirm("it is back");
  await page.waitForFunction(() => document.querySelectorAll(".overrides li").length === 1);
  assert.match((await rows())[0], /shadow.*drill.*in force/);
  const { overrides } = await (await fetch(`${base}/api/v1/breakers/${encodeURIComponent(key)}`)).json();
  assert.deepEqual(
    overrides.map(({ id }) => id),
    ["drill"],
  );
  await page.getByRole("button", { name: "Clear all overrides" }).click();
  await confirm("done");
  await page.waitForFunction(() => !document.querySelector(".overrides li"));
  assert.deepEqual(problems, []);
});

test("an open breaker is probed now, with a reason in the history, and one that is not open cannot be", async () => {
  await call("probe/now", "OUTCOME_FAILURE", 14);
  await open("#/breakers/probe%2Fnow");
  await page.waitForSelector(".state .pill.open");
  const probe = page.getByRole("button", { name: "Probe now" });
  await probe.click();
  await confirm("the provider is back");
  await page.waitForSelector(".state .pill.half_open");
  await page.waitForFunction(() => document.querySelector(".timeline li")?.textContent.includes("half-opened"));
  assert.match(await page.locator(".timeline li").first().textContent(), /ana: the provider is back/);
  await page.waitForFunction(() =>
    [...document.querySelectorAll("button")].some((button) => button.textContent === "Probe now" && button.disabled),
  );
  assert.deepEqual(problems, []);
});

test("a burst of moves is one line with their number", async () => {
  const key = "flap/often";
  const policy = { failureThreshold: 1, openDuration: "0.001s", openDurationMin: "0.001s" };
  await send("POST", "declare", { declarations: [{ breaker: key, policy }] });
  await open(`#/breakers/${encodeURIComponent(key)}`);
  await call(key, "OUTCOME_FAILURE", 60);
  await page.waitForFunction(() => document.querySelector(".timeline .times"));
  assert.match(await page.locator(".timeline .times").first().textContent(), /×\d+/);
  assert.deepEqual(problems, []);
});

test("what strangers wrote stays text", async () => {
  const words = "<img src=x onerror=alert(1)><script>alert(2)</script>";
  const said = { mode: "OVERRIDE_MODE_SHADOW", actor: words, reason: words };
  await send("PUT", "breakers/hostile/override", said);
  await open("#/breakers/hostile");
  await page.waitForFunction(() => document.querySelector(".timeline li")?.textContent.includes("onerror"));
  assert.equal(await page.locator("main img, main script").count(), 0);
  assert.deepEqual(problems, []);
});

test("thousands are searched, grouped and paged", async () => {
  for (let first = 0; first < 5_000; first += 500) {
    const declarations = Array.from({ length: 500 }, (_, index) => ({
      breaker: `svc-${index % 20}/b${first + index}`,
      policy: { failureThreshold: 5 },
    }));
    await send("POST", "declare", { declarations });
  }
  await open();
  await page.waitForFunction(() => document.querySelector("main .soft")?.textContent.startsWith("5,0"));
  assert.equal(await page.locator(".row").count(), 120, "a page of them is drawn");
  await page.fill("input[type=search]", "svc-7/");
  await page.waitForFunction(() => document.querySelector(".pager")?.textContent.includes("Page 1 of 3"));
  await page.getByRole("button", { name: "Next" }).click();
  await page.waitForFunction(() => document.querySelector(".pager")?.textContent.includes("Page 2 of 3"));
  await page.fill("input[type=search]", "");
  await page.getByRole("button", { name: "Group by prefix" }).click();
  assert.ok((await page.locator("h2.group").count()) > 1);
  assert.deepEqual(problems, []);
});

test("a phone in the dark needs no sideways scrolling, and the keyboard reaches everything", async () => {
  await open("#/breakers/payments%2Fcharge", { colorScheme: "dark", viewport: { width: 390, height: 844 } });
  await page.waitForSelector(".chart");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
  const reached = [];
  await page.evaluate(() => document.activeElement.blur());
  for (let step = 0; step < 12; step += 1) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.textContent.trim()));
  }
  for (const name of ["← All breakers", "Reset", "Force open", "Shadow"]) assert.ok(reached.includes(name), name);
  await screenshot("phone");
  assert.deepEqual(problems, []);
});

test("whoever looks signs in where the server asks, acts under that name, and signs out", async () => {
  const token = "0123456789abcdef0123456789abcdef";
  const folder = mkdtempSync(join(tmpdir(), "fuseboard-"));
  writeFileSync(join(folder, "admin-token"), token);
  const usual = base;
  base = await start("--admin-token-file", join(folder, "admin-token"));
  try {
    const authorization = `Bearer ${token}`;
    const headers = { "content-type": "application/json", authorization };
    await fetch(`${base}/api/v1/breakers/db/acquire`, { method: "POST", headers, body: "{}" });
    await open("#/", {}, "input[name=token]");
    await page.fill("input[name=token]", "nonsense");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForSelector(".fault:not([hidden])");
    await page.fill("input[name=token]", token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForSelector(".row");
    assert.equal(await page.locator(".who span").textContent(), "admin-token-file");
    assert.equal(await page.evaluate(() => document.cookie), "", "no script reads the token");
    await page.click(".row");
    await page.getByRole("button", { name: "Force open" }).click();
    assert.equal(await page.locator("dialog input[name=actor]").count(), 0);
    await page.fill("dialog input[name=reason]", "a drill");
    await page.locator("dialog button[type=submit]").click();
    await page.waitForFunction(() => document.querySelector(".timeline li")?.textContent.includes("override set"));
    assert.match(await page.locator(".timeline li").first().textContent(), /admin-token-file: a drill/);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForSelector("input[name=token]");
    // What the browser says of itself about an answer of 401.
    assert.deepEqual(
      problems.filter((problem) => !problem.includes("401")),
      [],
    );
  } finally {
    base = usual;
    rmSync(folder, { recursive: true });
  }
});
