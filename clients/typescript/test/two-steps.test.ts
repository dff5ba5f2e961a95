/** The two steps by hand: what an acquire knows of outcomes whose reports were not awaited. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server as GrpcServer, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import {
  BreakerServiceService,
  ReportBatchResponse,
  type SessionRequest,
  SessionResponse,
} from "../src/gen/fuseboard/v1/breaker_service.js";
import { Client, RejectedError } from "../src/index.js";
import { Server, until } from "./server.js";

const policy = { failureThreshold: 3, openDurationMs: 30_000, minCallers: 1 };
let server: Server;
let client: Client;

before(async () => {
  server = await Server.start("--manual-clock");
  client = new Client({ address: server.address, caller: "test/1", acquireTimeoutMs: 5_000, reportTimeoutMs: 5_000 });
});

after(async () => {
  await client.close();
  await server.kill();
});

for (const mode of ["cached", "strict"] as const) {
  test(`failing calls stop at the threshold also where nobody waits for their reports, ${mode}`, async () => {
    for (let round = 0; round < 10; round += 1) {
      const breaker = client.breaker(`unawaited/${mode}/${round}`, { policy, mode });
      assert.ok(await client.ready());
      await (await breaker.acquire()).success();
      let calls = 0;
      for (let attempt = 0; attempt < 50; attempt += 1) {
        try {
          const permit = await breaker.acquire();
          calls += 1;
          void permit.failure();
        } catch (error) {
          assert.ok(error instanceof RejectedError);
        }
      }
      assert.equal(calls, 3);
    }
  });
}

for (const failures of [3, 5, 10, 50]) {
  test(`${failures} failures at once and a success before they are sent open too`, async () => {
    const breaker = client.breaker(`at-once/${failures}`, { policy });
    assert.ok(await client.ready());
    await (await breaker.acquire()).success();
    const permits = await Promise.all(Array.from({ length: failures + 1 }, () => breaker.acquire()));
    for (const permit of permits.slice(1)) {
      void permit.failure();
    }
    void permits[0]!.success();
    await assert.rejects(breaker.acquire(), RejectedError);
  });
}

test("an acquire that cannot wait says that the server has to be asked", async () => {
  const breaker = client.breaker("try", { policy });
  assert.ok(await client.ready());
  await (await breaker.acquire()).success();
  let calls = 0;
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const permit = breaker.tryAcquire();
    calls += permit ? 1 : 0;
    void permit?.failure();
  }
  assert.equal(calls, 3);
  await assert.rejects(breaker.acquire(), RejectedError);
  assert.throws(() => breaker.tryAcquire(), RejectedError);
});

test("outcomes of two generations that alternate are all told", async () => {
  const breaker = client.breaker("alternate", { policy });
  assert.ok(await client.ready());
  await (await breaker.acquire()).success();
  const told = () => client.stats().reported + client.stats().staleReports;
  await until(async () => (await breaker.state()).totals?.successes === 1);
  const first = { told: told(), ...client.stats() };
  const old = await Promise.all(Array.from({ length: 30 }, () => breaker.acquire()));
  const generation = breaker.view()!.generation;
  await breaker.reset("drill");
  await until(() => breaker.view()!.generation > generation);
  for (const permit of old) {
    await permit.success();
    await (await breaker.acquire()).success();
  }
  await until(() => told() === first.told + 60);
  const { droppedReports, staleReports } = client.stats();
  assert.deepEqual([droppedReports, staleReports - first.staleReports], [0, 30]);
  assert.equal((await breaker.state()).totals?.successes, 31);
});

test("a frame without answers means nothing", async () => {
  let [sessions, frames, answers] = [0, 0, false];
  const fake = new GrpcServer();
  fake.addService(BreakerServiceService, {
    session(stream: ServerDuplexStream<SessionRequest, SessionResponse>) {
      sessions += 1;
      stream.write(SessionResponse.fromPartial({}));
      stream.on("data", ({ batches }: SessionRequest) => {
        frames += 1;
        stream.write(SessionResponse.fromPartial({}));
        if (answers) {
          const response = ReportBatchResponse.fromPartial({});
          stream.write(SessionResponse.fromPartial({ batches: batches.map(({ number }) => ({ number, response })) }));
        }
      });
      stream.on("end", () => stream.end());
    },
  } as never);
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = ServerCredentials.createInsecure();
    fake.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const options = {
    caller: "test/1",
    acquireTimeoutMs: 50,
    maxStalenessMs: 600_000,
    whenUnavailable: "permit" as const,
  };
  const lone = new Client({ address: `127.0.0.1:${port}`, ...options });
  try {
    const breaker = lone.breaker("db");
    await until(() => frames >= 3);
    assert.equal(lone.stats().usable, false);
    answers = true;
    await until(() => lone.stats().usable);
    await (await breaker.acquire()).success();
    assert.equal(sessions, 1);
  } finally {
    await lone.close();
    fake.forceShutdown();
  }
});
