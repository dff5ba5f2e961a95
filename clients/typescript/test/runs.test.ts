/** Runs of failures, in tallies and in the local breaker, without a server and in virtual time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Event as PbEvent } from "../src/gen/fuseboard/v1/event.js";
import { ExpiredPermit, Policy as PbPolicy, TripOn, Voters } from "../src/gen/fuseboard/v1/policy.js";
import { Guard, type LinkState, Yes } from "../src/guard.js";
import { LocalBreaker, type LocalRule, Run } from "../src/local.js";
import type { Outcome, Policy } from "../src/options.js";
import { Budget, COUNT_MAX, EXTRA_BYTES_MAX, TALLY_BYTES, Tally } from "../src/tally.js";
import { closed } from "../src/view.js";
import { policyOf, told } from "../src/wire.js";

/** Numbers below a bound, the same in each run. */
function drawn(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

type Step = [outcome: Outcome, local: boolean];
const KINDS: Step[] = [
  ["success", false],
  ["failure", false],
  ["failure", false],
  ["timeout", false],
  ["ignored", false],
  ["cancelled", false],
  ["failure", true],
];

function tallyOf(steps: Step[]): Tally {
  const tally = new Tally(1, 0, 0);
  for (const [outcome, local] of steps) {
    tally.add(outcome, false, local, 0);
  }
  return tally;
}

/** The runs of two tallies, one after the other, composed as a server does. */
function runsOfParts(a: Tally, b: Tally): number[] {
  return [
    a.leadingFailures + (a.successes ? 0 : b.leadingFailures),
    Math.max(a.longestRun, b.longestRun, a.trailingFailures + b.leadingFailures),
    b.trailingFailures + (b.successes ? 0 : a.trailingFailures),
  ];
}

test("runs of failures are exact and compose wherever a tally is split", () => {
  const draw = drawn(11);
  for (let round = 0; round < 2_000; round += 1) {
    const steps = Array.from({ length: draw(24) }, () => KINDS[draw(KINDS.length)]!);
    const runs = [0];
    for (const [outcome, local] of steps) {
      if (outcome === "success") {
        runs.push(0);
      } else if ((outcome === "failure" || outcome === "timeout") && !local) {
        runs[runs.length - 1]! += 1;
      }
    }
    const want = [runs[0], Math.max(...runs), runs.at(-1)];
    const sent = tallyOf(steps).toPb("db", "app/1", 0);
    assert.deepEqual([sent.leadingFailures, sent.longestRun, sent.trailingFailures], want);
    for (let at = 0; at <= steps.length; at += 1) {
      assert.deepEqual(runsOfParts(tallyOf(steps.slice(0, at)), tallyOf(steps.slice(at))), want);
    }
  }
});

const usable = (): LinkState => ({ heardAt: 0, usable: true, closed: false, budget: new Budget() });

function guardOf(key: string, link: LinkState): Guard {
  const guard = new Guard(key, link, "cached", "local", 60_000);
  guard.view = closed(1);
  guard.covered = true;
  return guard;
}

function permit(guard: Guard, now = 0): Yes {
  const yes = guard.decide(now);
  assert.ok(yes instanceof Yes);
  return yes;
}

test("outcomes of two generations may alternate, and none is dropped", () => {
  const guard = guardOf("db", usable());
  const old = Array.from({ length: 30 }, () => permit(guard));
  guard.learn(closed(2));
  for (const yes of old) {
    guard.settle(yes, "success", 0);
    guard.settle(permit(guard), "success", 0);
  }
  const told = guard.take(0, 10).map(({ generation, calls }) => [generation, calls]);
  assert.deepEqual(told, [
    [1, 30],
    [2, 30],
  ]);
  assert.equal(guard.dropped, 0);
});

test("a full tally is followed by another", () => {
  const guard = guardOf("db", usable());
  const yes = permit(guard);
  for (let call = 0; call <= COUNT_MAX; call += 1) {
    guard.settle(yes, "success", 0);
  }
  const told = guard.take(0, 10).map(({ calls }) => calls);
  assert.deepEqual(told, [COUNT_MAX, 1]);
});

test("pending tallies are bounded in bytes, and what finds no room is counted", () => {
  const link = usable();
  const guard = guardOf("db", link);
  const other = guardOf("other", link);
  const room = Math.floor(EXTRA_BYTES_MAX / (TALLY_BYTES + "db".length)) + 1;
  for (let generation = 1; generation <= room + 3; generation += 1) {
    guard.learn({ ...closed(generation), state: "open", openUntil: 1 });
    guard.decide(0);
    guard.settle(new Yes("cached", guard.view), "success", 0);
  }
  assert.deepEqual([guard.dropped, guard.droppedRejections], [3, 3]);
  other.settle(permit(other), "success", 0);
  assert.deepEqual([other.dropped, other.take(0, 10).length], [0, 1]);
  const first = guard.take(0, 10).map(({ generation }) => generation);
  assert.deepEqual(first, [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
  assert.equal(guard.take(0, room).length, room - 10);
  assert.deepEqual([link.budget.used, guard.hasPending], [0, false]);
});

test("an outcome is decisive where the run reaches the threshold, or any failure may trip", () => {
  const guard = guardOf("db", usable());
  assert.equal(guard.settle(permit(guard), "failure", 0), "decisive");
  guard.settle(permit(guard), "success", 0);
  guard.rule = { failureThreshold: 3, monitoringPeriodMs: 0, openDurationMs: 30_000 };
  guard.suspects = false;
  const outcomes: Outcome[] = ["failure", "failure", "success", "failure", "failure", "ignored", "timeout", "success"];
  const tellings = outcomes.map((outcome) => guard.settle(permit(guard), outcome, 0));
  const [now, later] = ["at_once", "later"];
  assert.deepEqual(tellings, [now, now, later, now, now, later, "decisive", later]);
});

test("an outcome of an older generation is not in the run", () => {
  const guard = guardOf("db", usable());
  guard.rule = { failureThreshold: 2, monitoringPeriodMs: 0, openDurationMs: 30_000 };
  guard.suspects = false;
  const old = permit(guard);
  guard.settle(permit(guard), "failure", 0);
  guard.learn(closed(2));
  assert.equal(guard.settle(old, "failure", 0), "at_once");
  assert.equal(guard.settle(permit(guard), "failure", 0), "at_once");
});

test("a sequence has one verdict, whenever the local breaker began to stand in", () => {
  const draw = drawn(12);
  const rule: LocalRule = { failureThreshold: 3, monitoringPeriodMs: 5_000, openDurationMs: 20_000 };
  const kinds: Outcome[] = ["success", "failure", "timeout", "ignored"];
  for (let round = 0; round < 2_000; round += 1) {
    let now = 0;
    const steps = Array.from({ length: draw(12) }, (): [Outcome, number] => {
      now += 1_000 * draw(3);
      return [kinds[draw(kinds.length)]!, now];
    });
    // What comes after the trip is of calls that were permitted before it, and moves nothing.
    const whole = new LocalBreaker(rule);
    let tripped = 0;
    for (const [outcome, at] of steps) {
      if (whole.isClosed) {
        whole.observe(outcome, at);
        tripped += 1;
      }
    }
    for (let split = 0; split <= tripped; split += 1) {
      const run = new Run();
      for (const [outcome, at] of steps.slice(0, split)) {
        if (outcome === "success") {
          run.clear();
        } else if (outcome !== "ignored") {
          run.add(at, rule);
        }
      }
      const late = LocalBreaker.standing(rule, "closed", 0, now, run);
      for (const [outcome, at] of steps.slice(split, tripped)) {
        late.observe(outcome, at);
      }
      assert.equal(late.isClosed, whole.isClosed);
      assert.deepEqual(late.acquire(now), whole.isClosed ? 0 : whole.acquire(now));
    }
  }
});

test("the local breaker knows the failures from before the server was lost", () => {
  const link = usable();
  const guard = guardOf("db", link);
  guard.rule = { failureThreshold: 3, monitoringPeriodMs: 0, openDurationMs: 30_000 };
  guard.settle(permit(guard), "failure", 1);
  guard.settle(permit(guard), "failure", 1);
  link.usable = false;
  guard.settle(permit(guard, 1), "failure", 1);
  assert.ok(!(guard.decide(1) instanceof Yes));
});

test("a policy has every field of the proto's", () => {
  const whole: Required<Policy> = {
    failureThreshold: 1,
    monitoringPeriodMs: 1,
    failureCountThreshold: 1,
    failureRateThreshold: 1,
    slowCallDurationMs: 1,
    slowCallRateThreshold: 1,
    slowCallMinimumCalls: 1,
    window: { calls: 1 },
    minimumCalls: 1,
    openDurationMs: 1,
    openBackoff: {},
    probes: 1,
    successesToClose: 1,
    failuresToReopen: 1,
    halfOpenMaxDurationMs: 1,
    retryAfterMaxMs: 1,
    leaseMs: 1,
    minCallers: 1,
    share: 1,
    expiredProbe: "timeout",
    expiredPermit: "failure",
    voters: "service",
    tripOn: "failure",
    openDurationMinMs: 1,
  };
  const told = policyOf(whole);
  const fields = Object.keys(PbPolicy.fromPartial({})) as (keyof PbPolicy)[];
  assert.deepEqual(
    fields.filter((field) => told[field] === undefined),
    [],
  );
  const { voters, tripOn, expiredProbe, expiredPermit } = told;
  assert.deepEqual(
    [voters, tripOn, expiredProbe, expiredPermit],
    [
      Voters.VOTERS_SERVICE,
      TripOn.TRIP_ON_FAILURE,
      ExpiredPermit.EXPIRED_PERMIT_TIMEOUT,
      ExpiredPermit.EXPIRED_PERMIT_FAILURE,
    ],
  );
  assert.throws(() => policyOf({ voters: "caller" as "service" }), { name: "RangeError", message: /voters/ });
});

test("a burst of moves is one event with its count", () => {
  const [first, last] = [new Date(99_000), new Date(100_000)];
  const one = told(PbEvent.fromPartial({ eventTime: last }));
  assert.deepEqual([one.count, one.firstTime], [1, last]);
  const burst = told(PbEvent.fromPartial({ eventTime: last, firstEventTime: first, count: 7 }));
  assert.deepEqual([burst.count, burst.firstTime, burst.time], [7, first, last]);
});
