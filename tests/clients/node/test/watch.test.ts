// Following what happens: complete, in order, and resumed where it was left.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Outcome, State } from "../gen/fuseboard/v1/breaker.js";
import { ResyncReason } from "../gen/fuseboard/v1/breaker_service.js";
import { eventKindToJSON } from "../gen/fuseboard/v1/event.js";
import { Api } from "../src/api.js";
import { ask } from "../src/rpc.js";

const bounded = { timeout: 30_000 };

let api: Api;
before(async () => {
  api = await Api.start();
});
after(() => api?.stop());

test("the first message is a snapshot of what the filter matches", bounded, async () => {
  await api.open("shown/a");
  await api.acquire("shown/b");
  await api.acquire("hidden");
  const watch = api.watch({ filter: { prefixes: ["shown/"] } });
  const snapshot = await watch.snapshot();
  assert.deepEqual([...snapshot.values()].map(({ breaker, state }) => [breaker, state]).sort(), [
    ["shown/a", State.STATE_OPEN],
    ["shown/b", State.STATE_CLOSED],
  ]);
  watch.cancel();
});

test("a watch resumed by its token misses nothing and sees nothing twice", bounded, async () => {
  const filter = { breakers: ["resumed"] };
  const first = api.watch({ filter });
  await first.snapshot();
  await api.open("resumed");
  await first.event();
  first.cancel();

  await api.advance(30);
  await api.call("resumed", Outcome.OUTCOME_SUCCESS);
  const second = api.watch({ filter, resumeToken: first.token });
  const missed = [await second.event(), await second.event()];
  await ask(api.breakers, api.breakers.reset, { breaker: "resumed", reason: "", actor: "" });
  const live = await second.event();
  assert.deepEqual(
    [...missed, live].map(({ kind }) => eventKindToJSON(kind)),
    ["EVENT_KIND_HALF_OPENED", "EVENT_KIND_CLOSED", "EVENT_KIND_RESET"],
  );
  second.cancel();
});

test("a token of another server is answered by a resync and a snapshot", bounded, async () => {
  const other = await Api.start();
  const elsewhere = other.watch();
  await elsewhere.message();
  elsewhere.cancel();
  await other.stop();

  await api.acquire("here");
  const watch = api.watch({ resumeToken: elsewhere.token });
  const message = await watch.message();
  assert(message?.$case === "resync");
  assert.equal(message.resync.reason, ResyncReason.RESYNC_REASON_OTHER_HISTORY);
  assert((await watch.snapshot()).has("here"));
  watch.cancel();
});
