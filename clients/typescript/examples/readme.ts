/** The README's snippets, one after the other, as the tests run them. */
import { guardedFetch } from "../src/fetch.js";
import { CircuitBreaker, Client } from "../src/index.js";
import { scheduled } from "../src/jobs.js";
import { FakeClient } from "../src/testing.js";

const charge = async (amount: number, _signal?: AbortSignal): Promise<string> => `charged ${amount}`;

const client = new Client({ caller: "web/1" }); // FUSEBOARD_ADDRESS, else 127.0.0.1:50051
const payments = client.breaker("payments", { policy: { failureThreshold: 5, openDurationMs: 30_000 } });

await payments.execute(({ signal }) => charge(5, signal));
await payments.execute(({ signal }) => charge(5, signal), { timeoutMs: 2_000, fallback: () => "later" });

const breaker = new CircuitBreaker({ failureThreshold: 5, resetTimeout: 30_000, monitoringPeriod: 60_000 });
breaker.on("open", () => console.log("open"));
await breaker.execute(() => charge(5)); // Error('Circuit breaker is OPEN') while it is
console.log(breaker.getState(), breaker.isOpen(), breaker.getFailures());
breaker.reset();

{
  using permit = await payments.acquire();
  const answer = await charge(7);
  await (answer === "throttled" ? permit.failure({ retryAfterMs: 10_000 }) : permit.success());
}

const orders = client.breaker("orders", {
  classify: (error) => (error instanceof TypeError ? "ignored" : error ? "failure" : "success"),
  whenUnavailable: "permit",
  mode: "strict",
});

client.on("open", ({ breaker, rule }) => console.log(`${breaker} is open: ${rule}`));
payments.on("closed", () => console.log("payments is back"));

const get = guardedFetch(client, { timeoutMs: 2_000 }); // a breaker a host
const job = scheduled(orders, () => charge(1), { maxRetries: 2, onSkipped: ({ reason }) => console.log(reason) });

const fake = new FakeClient();
fake.setOpen("payments", 12_000);
await fake.breaker("payments").execute(() => charge(1), { fallback: () => "rejected" });
fake.setClosed("payments");
await fake.breaker("payments").execute(() => charge(1));
console.log(fake.outcomes("payments")); // [ 'success' ]
await client.close();

export { get, job };
