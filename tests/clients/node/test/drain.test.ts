import assert from "node:assert/strict";
import { test } from "node:test";
import { GoodbyeReason } from "../gen/fuseboard/v1/breaker_service.js";
import { Api } from "../src/api.js";

test("a drain says goodbye on every stream and exits with 0", { timeout: 60_000 }, async () => {
  const api = await Api.start([]);
  const watch = api.watch();
  await watch.snapshot();
  const session = api.session();
  await session.ask({ acquires: [{ number: 1n, breaker: "payments" }] });

  api.server.terminate();

  const message = await watch.message();
  assert(message?.$case === "goodbye");
  assert.equal(message.goodbye.reason, GoodbyeReason.GOODBYE_REASON_DRAINING);
  assert(message.goodbye.retryAfter);
  assert.equal(await watch.next(), undefined, "the stream ends with OK");
  const frame = await session.next();
  assert.equal(frame?.goodbye?.reason, GoodbyeReason.GOODBYE_REASON_DRAINING);
  assert.equal(await session.next(), undefined);
  await api.server.ended();
  api.close();
});
