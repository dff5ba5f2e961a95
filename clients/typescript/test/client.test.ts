/** The client against a server whose time stands still. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type BreakerEvent, BreakerNotFoundError, CallTimeoutError, Client, RejectedError } from "../src/index.js";
import { ManualClock } from "../src/testing.js";
import { Server, until } from "./server.js";

const policy = { failureThreshold: 3, openDurationMs: 30_000 };
let server: Server;
let clock: ManualClock;
let client: Client;

before(async () => {
  server = await Server.start("--manual-clock");
  clock = new ManualClock(server.address);
  client = newClient();
});

after(async () => {
  await client.close();
  clock.close();
  await server.kill();
});

function newClient(options: object = {}): Client {
  const patience = { acquireTimeoutMs: 2_000, reportTimeoutMs: 2_000 };
  return new Client({ address: server.address, caller: "test/1", ...patience, ...options });
}

const fail = () => Promise.reject(new Error("refused"));

async function ready(key: string, options: object = {}) {
  const breaker = client.breaker(key, { policy, ...options });
  assert.ok(await client.ready());
  return breaker;
}

test("execute gives the call's own result and its own error", async () => {
  const breaker = await ready("own");
  const error = new Error("mine");
  assert.equal(await breaker.execute(() => 3), 3);
  await assert.rejects(
    breaker.execute(() => Promise.reject(error)),
    (thrown) => thrown === error,
  );
});

test("a caller sees its own trip at once, and a probe closes it again", async () => {
  const breaker = await ready("trip");
  for (let call = 0; call < 3; call += 1) {
    await assert.rejects(breaker.execute(fail), { message: "refused" });
  }
  await assert.rejects(breaker.execute(fail), (error: RejectedError) => {
    assert.ok(error instanceof RejectedError);
    assert.deepEqual([error.breaker, error.reason, error.state, error.source], ["trip", "open", "open", "cached"]);
    return error.retryAfterMs > 0 && error.retryAfterMs <= 31_000;
  });
  await clock.advance(31_000);
  await until(() => breaker.view()?.state === "half_open");
  assert.equal(await breaker.execute(() => "back"), "back");
  assert.equal(breaker.view()?.state, "closed");
});

test("a fallback answers for rejections and failures", async () => {
  const breaker = await ready("fallback", { fallback: (error: Error) => error.name });
  const heard = [];
  for (let call = 0; call < 4; call += 1) {
    heard.push(await breaker.execute<unknown>(fail));
  }
  assert.deepEqual(heard, ["Error", "Error", "Error", "RejectedError"]);
});

test("a classifier says what counts, and one that throws loses nothing", async () => {
  const ignoring = await ready("ignoring", { classify: (error: unknown) => (error ? "ignored" : "success") });
  const throwing = await ready("throwing", {
    classify: () => {
      throw new Error("broken");
    },
  });
  client.observer.warn = () => {};
  for (let call = 0; call < 3; call += 1) {
    await assert.rejects(ignoring.execute(fail), { message: "refused" });
    await assert.rejects(throwing.execute(fail), { message: "refused" });
  }
  assert.equal(await ignoring.execute(() => 1), 1);
  await assert.rejects(
    throwing.execute(() => 1),
    RejectedError,
  );
});

test("nothing that is thrown is a failure too, and an observer or classifier that fails harms nobody", async () => {
  const observer = {
    decided: () => {
      throw new Error("an observer's own");
    },
    reported: () => {
      throw new Error("an observer's own");
    },
  };
  const own = newClient({ observer });
  const breaker = own.breaker("nothing", { policy, classify: () => undefined as never });
  assert.ok(await own.ready());
  assert.equal(await breaker.execute(() => 1), 1);
  for (let call = 0; call < 3; call += 1) {
    await breaker.execute(() => Promise.reject()).catch((error) => assert.equal(error, undefined));
  }
  await assert.rejects(
    breaker.execute(() => 1),
    RejectedError,
  );
  await own.close();
});

test("a call that takes too long is aborted and a timeout", async () => {
  const breaker = await ready("timeout", { timeoutMs: 20 });
  let isAborted = false;
  const hang = ({ signal }: { signal: AbortSignal }) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        isAborted = true;
        reject(signal.reason);
      });
    });
  await assert.rejects(breaker.execute(hang), CallTimeoutError);
  assert.ok(isAborted);
  assert.equal((await breaker.state()).totals?.timeouts, 1);
});

test("a call that its user gives up is cancelled", async () => {
  const breaker = await ready("cancelled", { mode: "strict" });
  const user = new AbortController();
  const call = breaker.execute(() => sleep(60_000, undefined, { ref: false }), { signal: user.signal });
  user.abort(new Error("gone"));
  await assert.rejects(call, { message: "gone" });
  await until(async () => (await breaker.state()).totals?.ignored === 1);
});

test("a permit is reported once, and one that is left is cancelled", async () => {
  const breaker = await ready("permit", { mode: "strict" });
  const permit = await breaker.acquire();
  await permit.failure({ errorClass: "refused" });
  await permit.success();
  {
    using _left = await breaker.acquire();
  }
  await until(async () => (await breaker.state()).totals?.ignored === 1);
  const { totals } = await breaker.state();
  assert.deepEqual([totals?.successes, totals?.failures], [0, 1]);
});

test("memory decides without a wait where it can", async () => {
  const breaker = await ready("try");
  await breaker.execute(() => "asked");
  const permit = breaker.tryAcquire();
  assert.equal(permit?.source, "cached");
  await permit?.success();
  assert.equal(client.breaker("never-asked").tryAcquire(), undefined);
});

test("events are heard by listeners and in a loop, and one that throws harms nobody", async () => {
  const breaker = await ready("events");
  const heard: string[] = [];
  const looped: BreakerEvent[] = [];
  const loop = (async () => {
    for await (const event of client.events()) {
      looped.push(event);
      if (event.kind === "reset") {
        return;
      }
    }
  })();
  breaker.on("open", () => {
    throw new Error("a listener's own");
  });
  client.on("open", ({ breaker }) => heard.push(`open ${breaker}`));
  client.on("reset", ({ comment }) => heard.push(`reset ${comment}`));
  for (let call = 0; call < 3; call += 1) {
    await assert.rejects(breaker.execute(fail), { message: "refused" });
  }
  await breaker.reset("test", "ana");
  await until(() => heard.length === 2);
  await loop;
  assert.deepEqual(heard, ["open events", "reset test"]);
  assert.deepEqual(
    looped.map(({ kind, rule, actor }) => [kind, rule, actor]),
    [
      ["opened", "failure_threshold", ""],
      ["reset", undefined, "ana"],
    ],
  );
});

test("a policy can be declared anew and loses no state", async () => {
  const breaker = await ready("declare", { revision: 1 });
  await assert.rejects(breaker.execute(fail), { message: "refused" });
  const inForce = await breaker.declare({ failureThreshold: 2, openDurationMs: 60_000 }, 2);
  assert.equal(inForce.policy?.failureThreshold, 2);
  await assert.rejects(breaker.execute(fail), { message: "refused" });
  assert.equal(breaker.view()?.state, "open");
});

test("what the server has never seen is an error of its own", async () => {
  await assert.rejects(client.breaker("never-seen").state(), BreakerNotFoundError);
  await assert.rejects(client.breaker("never-seen").reset(), BreakerNotFoundError);
});

test("close flushes, and calls after it are decided here", async () => {
  const own = newClient({ reportIntervalMs: 60_000 });
  const breaker = own.breaker("close", { policy });
  assert.ok(await own.ready());
  for (let call = 0; call < 7; call += 1) {
    await breaker.execute(() => {});
  }
  await own.close();
  await own.close();
  assert.equal(own.stats().reported, 7);
  assert.equal(await breaker.execute(() => "still"), "still");
});

test("a server that dies and returns costs little, and the client comes back by itself", async () => {
  const mine = await Server.start();
  const own = new Client({ address: mine.address, caller: "test/1", observer: {} });
  const breaker = own.breaker("away", { policy });
  assert.ok(await own.ready());
  await mine.kill();
  for (let call = 0; call < 20; call += 1) {
    const start = performance.now();
    assert.equal(await breaker.execute(() => "fine"), "fine");
    assert.ok(performance.now() - start < 1_000);
    await sleep(20);
  }
  await mine.start();
  await until(() => own.stats().usable && own.stats().resyncs === 1);
  await own.close();
  await mine.kill();
});

test("bad options are named", () => {
  assert.throws(() => new Client({ acquireTimeoutMs: -1 }), /acquireTimeoutMs/);
  assert.throws(() => new Client({ address: "localhost" }), /port/);
  assert.throws(() => new Client({ mode: "fast" as "cached" }), /mode/);
  assert.throws(() => client.breaker("no spaces"), /key/);
});

test("a client keeps no process alive, and one that waits for an answer is waited for", async () => {
  const program = `
    import { Client, CircuitBreaker } from ${JSON.stringify(new URL("../src/index.js", import.meta.url).href)};
    const client = new Client();
    const breaker = client.breaker("process", { policy: { failureThreshold: 3 } });
    if (!(await client.ready(20_000))) throw new Error("not ready");
    await breaker.execute(() => {});
    console.log((await breaker.state()).status.breaker);
    await new CircuitBreaker().execute(() => {});
  `;
  const env = { ...process.env, FUSEBOARD_ADDRESS: server.address };
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], { env, timeout: 40_000 });
  assert.equal((await run).stdout, "process\n");
});
