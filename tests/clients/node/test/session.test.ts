// Many calls on one stream, and the batches of clients that decide by themselves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { status } from "@grpc/grpc-js";
import { Decision, Outcome, RejectionReason, State } from "../gen/fuseboard/v1/breaker.js";
import { ReportBatchRequest, ReportResult } from "../gen/fuseboard/v1/breaker_service.js";
import { Api } from "../src/api.js";
import { ask } from "../src/rpc.js";

const bounded = { timeout: 30_000 };

let api: Api;
before(async () => {
  api = await Api.start();
});
after(() => api?.stop());

test("a session answers every item under its number, its breakers named by handles", bounded, async () => {
  const session = api.session();
  const { acquired } = await session.ask({
    caller: "shop/1",
    introductions: [{ handle: 1, breaker: "session" }],
    acquires: [10n, 20n, 30n, 40n, 50n].map((number) => ({ number, handle: 1 })),
  });
  assert.deepEqual(new Set(acquired.map(({ number }) => number)), new Set([10n, 20n, 30n, 40n, 50n]));

  const { reported } = await session.ask({
    reports: acquired.map(({ number, permit }) => ({ number, handle: 1, permit, outcome: Outcome.OUTCOME_FAILURE })),
  });
  assert(reported.every(({ result }) => result === ReportResult.REPORT_RESULT_COUNTED));
  assert(reported.some(({ state }) => state === State.STATE_OPEN));

  const rejected = (await session.ask({ acquires: [{ number: 60n, breaker: "session" }] })).acquired[0];
  assert.equal(rejected?.decision, Decision.DECISION_REJECTED);
  assert.equal(rejected?.reason, RejectionReason.REJECTION_REASON_OPEN);
  session.end();
  assert.equal(await session.next(), undefined);
});

test("an item at fault has an error of its own and the session goes on", bounded, async () => {
  const session = api.session();
  const answer = await session.ask({
    acquires: [
      { number: 1n, breaker: "fine" },
      { number: 2n, breaker: "not a key" },
      { number: 3n, handle: 9 },
    ],
  });
  assert.deepEqual(
    answer.acquired.map(({ number }) => number),
    [1n],
  );
  assert.deepEqual(
    new Map(answer.errors.map(({ number, code }) => [number, code])),
    new Map([
      [2n, status.INVALID_ARGUMENT],
      [3n, status.INVALID_ARGUMENT],
    ]),
  );
  assert.equal((await session.ask({ acquires: [{ number: 4n, breaker: "fine" }] })).acquired.length, 1);
  session.end();
});

test("a permit of a broken session is reported on the next one and counts once", bounded, async () => {
  const first = api.session();
  const permit = (await first.ask({ acquires: [{ number: 1n, breaker: "moved" }] })).acquired[0]!.permit;
  first.cancel();

  const second = api.session();
  const report = { number: 1n, breaker: "moved", permit, outcome: Outcome.OUTCOME_FAILURE };
  const results = [
    (await second.ask({ reports: [report] })).reported[0]?.result,
    (await second.ask({ reports: [report] })).reported[0]?.result,
  ];
  assert.deepEqual(results, [ReportResult.REPORT_RESULT_COUNTED, ReportResult.REPORT_RESULT_DUPLICATE]);
  assert.equal((await api.state("moved")).status?.failures, 1n);
  second.end();
});

test("a batch counts once, whichever way and however often it is sent", bounded, async () => {
  const { generation } = await api.acquire("batched");
  const batch = ReportBatchRequest.fromPartial({
    clientId: "process-1",
    batchSequence: 1n,
    tallies: [{ breaker: "batched", generation, successes: 10, failures: 4, trailingFailures: 2 }],
  });
  const first = await ask(api.breakers, api.breakers.reportBatch, batch);
  assert.deepEqual([first.duplicate, first.counted, first.stale], [false, 1, 0]);
  assert.equal((await ask(api.breakers, api.breakers.reportBatch, batch)).duplicate, true);
  const session = api.session();
  const answer = (await session.ask({ batches: [{ number: 1n, batch }] })).batches[0];
  assert.equal(answer?.response?.duplicate, true);
  session.end();
  const { window } = await api.state("batched");
  assert.deepEqual([window?.successes, window?.failures], [10n, 4n]);
});
