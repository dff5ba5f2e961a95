/**
 * What a decision costs: from memory, asked from a server, and by libraries in the process, over an empty call. Prints a
 * line of JSON for each. FUSEBOARD_BIN names the server.
 */
import { ConsecutiveBreaker, circuitBreaker, handleAll } from "cockatiel";
import Opossum from "opossum";
import { Client } from "../src/index.js";
import { Server } from "../test/server.js";

const ROUNDS = 7;
const ROUND_MS = 200;

const empty = async (): Promise<void> => {};

/** Nanoseconds a call in one round. */
async function rate(call: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let calls = 0;
  let now = start;
  while (now - start < ROUND_MS) {
    for (let each = 0; each < 100; each += 1) {
      await call();
    }
    calls += 100;
    now = performance.now();
  }
  return ((now - start) / calls) * 1e6;
}

const server = await Server.start();
const client = new Client({ address: server.address, caller: "bench/1" });
const cached = client.breaker("cached");
const strict = client.breaker("strict", { mode: "strict", whenUnavailable: "reject" });
await client.ready();
await cached.execute(empty);
const opossum = new Opossum(empty, { timeout: false });
const cockatiel = circuitBreaker(handleAll, { halfOpenAfter: 30_000, breaker: new ConsecutiveBreaker(5) });
const kinds: [string, () => Promise<unknown>][] = [
  ["empty", empty],
  ["cached", () => cached.execute(empty)],
  ["strict", () => strict.execute(empty)],
  ["opossum", () => opossum.fire()],
  ["cockatiel", () => cockatiel.execute(empty)],
];
// Side by side: a round of each, again and again; the best is what the machine's noise hides least.
const best = new Map(kinds.map(([kind]) => [kind, Number.POSITIVE_INFINITY]));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [kind, call] of kinds) {
    best.set(kind, Math.min(best.get(kind)!, await rate(call)));
  }
}
for (const [kind, nanoseconds] of best) {
  console.log(JSON.stringify({ language: "typescript", what: kind, ns_per_call: Math.round(nanoseconds) }));
}
opossum.shutdown();
await client.close();
await server.kill();
