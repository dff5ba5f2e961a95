// What a client is told when it asks for something that cannot be.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type ServiceError, status } from "@grpc/grpc-js";
import { Decision, Outcome } from "../gen/fuseboard/v1/breaker.js";
import { Api, seconds } from "../src/api.js";
import { details } from "../src/reflection.js";
import { ask } from "../src/rpc.js";

const bounded = { timeout: 30_000 };

let api: Api;
before(async () => {
  api = await Api.start();
});
after(() => api?.stop());

/** The error that a call ends with. */
async function refused(call: Promise<unknown>): Promise<ServiceError> {
  const outcome = await call.then(
    () => undefined,
    (error: ServiceError) => error,
  );
  assert(outcome, "the call succeeded");
  return outcome;
}

const BAD_KEYS = {
  "an empty key": "",
  "a key with a space": "a b",
  "a key beyond ASCII": "zahlungen/gebühr",
  "a key of 201 bytes": "k".repeat(201),
};
for (const [name, breaker] of Object.entries(BAD_KEYS)) {
  test(`${name} is an invalid argument that names its field`, bounded, async () => {
    const error = await refused(api.acquire(breaker));
    assert.equal(error.code, status.INVALID_ARGUMENT);
    const { ErrorInfo, BadRequest } = await details(api.server.address, error);
    assert.equal(ErrorInfo?.domain, "fuseboard");
    assert(ErrorInfo?.reason);
    assert.equal(BadRequest?.field_violations[0]?.field, "breaker");
  });
}

test("an unknown breaker is not found", bounded, async () => {
  for (const call of [
    () => api.state("never-seen"),
    () => ask(api.breakers, api.breakers.reset, { breaker: "never-seen", reason: "", actor: "" }),
    () => ask(api.operator, api.operator.deleteBreaker, { breaker: "never-seen", reason: "", actor: "" }),
  ]) {
    const error = await refused(call());
    assert.equal(error.code, status.NOT_FOUND);
    const { ErrorInfo } = await details(api.server.address, error);
    assert.deepEqual([ErrorInfo?.domain, ErrorInfo?.reason], ["fuseboard", "BREAKER_NOT_FOUND"]);
  }
});

test("a permit that is none is refused and counts nothing", bounded, async () => {
  await api.acquire("forged");
  const error = await refused(api.report("forged", "nonsense", Outcome.OUTCOME_FAILURE));
  assert.equal(error.code, status.INVALID_ARGUMENT);
  const { BadRequest } = await details(api.server.address, error);
  assert.equal(BadRequest?.field_violations[0]?.field, "permit");
  assert.equal((await api.state("forged")).totals?.failures, 0n);
});

test("a negative duration and an outcome that does not exist are refused by name", bounded, async () => {
  const permit = await api.permit("fields");
  for (const [call, field] of [
    [() => api.report("fields", permit, Outcome.OUTCOME_SUCCESS, { duration: seconds(-1) }), "duration"],
    [() => api.report("fields", permit, 77 as Outcome), "outcome"],
    [() => api.acquire("fields", { lease: seconds(-1) }), "lease"],
  ] as const) {
    const error = await refused(call());
    assert.equal(error.code, status.INVALID_ARGUMENT);
    const { BadRequest } = await details(api.server.address, error);
    assert.equal(BadRequest?.field_violations[0]?.field, field);
  }
});

test("a message above the limit is refused and the connection goes on", bounded, async () => {
  const error = await refused(api.acquire("large", { requestId: "x".repeat(70_000) }));
  assert.equal(error.code, status.RESOURCE_EXHAUSTED);
  assert.equal((await api.acquire("large")).decision, Decision.DECISION_PERMITTED);
});

test("a watch with a token that is none is an invalid argument", bounded, async () => {
  const error = await refused(api.watch({ resumeToken: "nonsense" }).message());
  assert.equal(error.code, status.INVALID_ARGUMENT);
  const { BadRequest } = await details(api.server.address, error);
  assert.equal(BadRequest?.field_violations[0]?.field, "resume_token");
});
