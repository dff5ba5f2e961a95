// One breaker's life, as a service in Node lives it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Decision, Outcome, OverrideMode, RejectionReason, State, TripRule } from "../gen/fuseboard/v1/breaker.js";
import { ReportResult } from "../gen/fuseboard/v1/breaker_service.js";
import { EventReason, eventKindToJSON } from "../gen/fuseboard/v1/event.js";
import { Policy } from "../gen/fuseboard/v1/policy.js";
import { Api, assertClose, inSeconds, seconds } from "../src/api.js";
import { ask } from "../src/rpc.js";

const bounded = { timeout: 30_000 };

let api: Api;
before(async () => {
  api = await Api.start();
});
after(() => api?.stop());

test("a fresh server permits a key it has never seen", bounded, async () => {
  const answer = await api.acquire("payments");
  assert.equal(answer.decision, Decision.DECISION_PERMITTED);
  assert.equal(answer.state, State.STATE_CLOSED);
  assert.match(answer.permit, /^[\x21-\x7e]{1,200}$/);
  assert.equal(inSeconds(answer.lease), 60);
  assert.equal(answer.retryAfter, undefined);
});

test("five failures in a row open it, and a rejection says why and until when", bounded, async () => {
  await api.open("five");
  await api.advance(10);
  const answer = await api.acquire("five");
  assert.equal(answer.decision, Decision.DECISION_REJECTED);
  assert.equal(answer.reason, RejectionReason.REJECTION_REASON_OPEN);
  assertClose(inSeconds(answer.retryAfter), 20);
  assert.equal(answer.permit, "");
});

test("a watch sees open, half-open and closed arrive live", bounded, async () => {
  const watch = api.watch({ filter: { breakers: ["watched"] } });
  assert.equal((await watch.snapshot()).size, 0);

  await api.open("watched");
  const opened = await watch.event();
  assert.equal(eventKindToJSON(opened.kind), "EVENT_KIND_OPENED");
  assert.deepEqual([opened.from, opened.to], [State.STATE_CLOSED, State.STATE_OPEN]);
  assert.equal(opened.evidence?.rule, TripRule.TRIP_RULE_FAILURE_THRESHOLD);
  assert.equal(opened.evidence?.consecutiveFailures, 5n);

  await api.advance(30);
  const halfOpened = await watch.event();
  assert.equal(eventKindToJSON(halfOpened.kind), "EVENT_KIND_HALF_OPENED");
  assert.equal(halfOpened.reason, EventReason.EVENT_REASON_OPEN_PERIOD_PASSED);

  const probe = await api.permit("watched");
  const second = await api.acquire("watched");
  assert.equal(second.reason, RejectionReason.REJECTION_REASON_HALF_OPEN_FULL);
  await api.report("watched", probe, Outcome.OUTCOME_SUCCESS);
  const closed = await watch.event();
  assert.equal(eventKindToJSON(closed.kind), "EVENT_KIND_CLOSED");
  assert.equal(closed.reason, EventReason.EVENT_REASON_PROBES_SUCCEEDED);

  assert(opened.sequence < halfOpened.sequence && halfOpened.sequence < closed.sequence);
  assert(opened.generation < halfOpened.generation && halfOpened.generation < closed.generation);
  watch.cancel();
});

test("fifty acquires at once get exactly one probe", bounded, async () => {
  await api.open("crowd");
  await api.advance(30);
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) => api.acquire("crowd", { caller: `shop/${n}` })),
  );
  const permitted = answers.flatMap(({ decision, permit }, n) =>
    decision === Decision.DECISION_PERMITTED ? [{ permit, caller: `shop/${n}` }] : [],
  );
  assert.equal(permitted.length, 1);
  const [probe] = permitted as [{ permit: string; caller: string }];
  const lone = await api.report("crowd", probe.permit, Outcome.OUTCOME_FAILURE);
  assert.equal(lone.state, State.STATE_HALF_OPEN, "one caller's failure is not yet the dependency's");
  const again = await api.acquire("crowd", { caller: probe.caller });
  assert.equal(again.reason, RejectionReason.REJECTION_REASON_HALF_OPEN_FULL, "the next probe is another caller's");
  const other = await api.permit("crowd", { caller: "till/1" });
  const report = await api.report("crowd", other, Outcome.OUTCOME_FAILURE);
  assert.equal(report.state, State.STATE_OPEN, "failed probes of two open it again");
});

test("the same report twice counts once", bounded, async () => {
  const permit = await api.permit("twice");
  const results = [
    (await api.report("twice", permit, Outcome.OUTCOME_TIMEOUT)).result,
    (await api.report("twice", permit, Outcome.OUTCOME_TIMEOUT)).result,
  ];
  assert.deepEqual(results, [ReportResult.REPORT_RESULT_COUNTED, ReportResult.REPORT_RESULT_DUPLICATE]);
  const { window } = await api.state("twice");
  assert.deepEqual([window?.failures, window?.timeouts], [1n, 1n]);
});

test("the same request id gets the same permit", bounded, async () => {
  const first = await api.acquire("retried", { requestId: "a" });
  const again = await api.acquire("retried", { requestId: "a" });
  assert.deepEqual(again, first);
});

test("a report from before the trip is stale and moves nothing", bounded, async () => {
  const early = await api.permit("late");
  await api.open("late");
  const late = await api.report("late", early, Outcome.OUTCOME_SUCCESS);
  assert.equal(late.result, ReportResult.REPORT_RESULT_STALE);
  assert.equal(late.state, State.STATE_OPEN);
});

test("reset closes an open breaker and says who did it", bounded, async () => {
  await api.open("reset");
  const { status } = await ask(api.breakers, api.breakers.reset, { breaker: "reset", reason: "fixed", actor: "ana" });
  assert.equal(status?.state, State.STATE_CLOSED);
  const { lastEvent } = await api.state("reset");
  assert.deepEqual([lastEvent?.actor, lastEvent?.comment], ["ana", "fixed"]);
});

test("forced open rejects until it is cleared", bounded, async () => {
  await ask(api.operator, api.operator.setOverride, {
    breaker: "forced",
    mode: OverrideMode.OVERRIDE_MODE_FORCED_OPEN,
    actor: "ana",
    reason: "migration",
    expireAfter: undefined,
    id: "",
  });
  const held = await api.acquire("forced");
  assert.equal(held.reason, RejectionReason.REJECTION_REASON_FORCED_OPEN);
  assert.equal(held.state, State.STATE_CLOSED, "the computed state goes on underneath");
  await ask(api.operator, api.operator.clearOverride, { breaker: "forced", actor: "ana", reason: "done", id: "" });
  assert.equal((await api.acquire("forced")).decision, Decision.DECISION_PERMITTED);
});

test("a declared policy is exactly what holds", bounded, async () => {
  const policy = Policy.fromPartial({ failureThreshold: 2, openDuration: seconds(7) });
  const { declared } = await ask(api.breakers, api.breakers.declare, {
    declarations: [{ breaker: "declared", policy, revision: 1n }],
    caller: "shop/1",
  });
  assert.equal(declared[0]?.policy?.policy?.failureRateThreshold, 0, "the default's other trip rules are off");
  assert.equal(declared[0]?.policy?.declaredRevision, 1n);
  assert.equal((await api.call("declared", Outcome.OUTCOME_FAILURE)).state, State.STATE_CLOSED);
  assert.equal((await api.call("declared", Outcome.OUTCOME_FAILURE)).state, State.STATE_OPEN);
  assertClose(inSeconds((await api.acquire("declared")).retryAfter), 7);
});
