/** The drop-in, used as in-process breakers are. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AdaptiveBreaker, CircuitBreaker, Client, presets } from "../src/index.js";
import { Server, until } from "./server.js";

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start();
  client = new Client({ address: server.address, caller: "test/1", acquireTimeoutMs: 2_000, reportTimeoutMs: 2_000 });
});

after(async () => {
  await client.close();
  await server.kill();
});

const fail = () => Promise.reject(new Error("refused"));

async function tells(breaker: CircuitBreaker): Promise<void> {
  for (let failures = 0; failures < 3; failures += 1) {
    assert.equal(breaker.getFailures(), failures);
    assert.equal(breaker.getState(), "CLOSED");
    await assert.rejects(breaker.execute(fail), { message: "refused" });
  }
  assert.equal(breaker.getState(), "OPEN");
  assert.ok(breaker.isOpen());
  await assert.rejects(
    breaker.execute(() => 1),
    { message: "Circuit breaker is OPEN" },
  );
}

test("it opens at its threshold, tells its state from memory, and is reset at once", async () => {
  const breaker = new CircuitBreaker({ failureThreshold: 3, resetTimeout: 30_000, monitoringPeriod: 60_000, client });
  const heard: string[] = [];
  for (const name of ["open", "closed", "halfOpen", "reset"] as const) {
    breaker.on(name, () => heard.push(name));
  }
  assert.ok(await client.ready());
  await tells(breaker);
  breaker.reset();
  assert.equal(breaker.getState(), "CLOSED");
  assert.equal(breaker.getFailures(), 0);
  await until(() => heard.join() === "open,reset");
  assert.equal(await breaker.execute(() => 5), 5);
});

test("it recovers by a probe", async () => {
  const breaker = new CircuitBreaker({ failureThreshold: 3, resetTimeout: 200, client });
  await tells(breaker);
  await until(() => breaker.getState() === "HALF_OPEN");
  assert.equal(await breaker.execute(() => "back"), "back");
  assert.equal(breaker.getState(), "CLOSED");
});

test("without a server it is a breaker of this process", async () => {
  const nowhere = new Client({ address: "127.0.0.1:1", observer: {} });
  const breaker = new CircuitBreaker({ failureThreshold: 3, resetTimeout: 100, client: nowhere });
  const heard: string[] = [];
  for (const name of ["open", "closed", "halfOpen", "reset"] as const) {
    breaker.on(name, () => heard.push(name));
  }
  await tells(breaker);
  breaker.reset();
  assert.equal(breaker.getState(), "CLOSED");
  await tells(breaker);
  await until(() => breaker.getState() === "HALF_OPEN");
  assert.equal(await breaker.execute(() => "back"), "back");
  assert.equal(breaker.getState(), "CLOSED");
  assert.deepEqual(heard, ["open", "reset", "open", "halfOpen", "closed"]);
  await nowhere.close();
});

test("those without a name share nothing, those with one do", async () => {
  const [mine, other] = [1, 2].map(() => new CircuitBreaker({ failureThreshold: 3, client })) as [
    CircuitBreaker,
    CircuitBreaker,
  ];
  const [named, same] = [1, 2].map(() => new CircuitBreaker({ failureThreshold: 3, client, name: "shared" })) as [
    CircuitBreaker,
    CircuitBreaker,
  ];
  assert.ok(await client.ready());
  await tells(mine);
  await tells(named);
  assert.equal(other.getState(), "CLOSED");
  assert.equal(same.getState(), "OPEN");
});

test("an adaptive breaker tightens itself by the fleet's numbers and loses no state", async () => {
  const adaptive = new AdaptiveBreaker(client, "adaptive", {
    policy: { ...presets.tolerant, failureThreshold: 10_000 },
    minimumCalls: 40,
  });
  assert.ok(await client.ready());
  for (let call = 0; call < 40; call += 1) {
    await adaptive.execute(call % 4 ? fail : () => 1).catch(() => {});
  }
  await until(() => adaptive.isTight);
  const { policy, totals } = await adaptive.breaker.state();
  assert.equal(policy?.policy?.failureThreshold, 3);
  assert.equal(totals?.failures, 30);
});
