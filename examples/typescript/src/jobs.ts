/** The scheduled job: the rates are fetched now and then, so that the cache has something to stand in with. */
import { Cron } from "croner";
import { scheduled } from "fuseboard/jobs";
import { Counter } from "prom-client";
import { fetchRates } from "./dependencies.js";
import { CALL_TIMEOUT_MS } from "./settings.js";
import type { Shop } from "./shop.js";

const runs = new Counter({
  name: "shop_job_runs_total",
  help: "Runs of the scheduled job: done, skipped (its breaker was open) or failed.",
  labelNames: ["result"],
});

/** Runs until it is stopped. A run that its breaker rejects is left out; the next one comes at its time. */
export function refreshRates(shop: Shop, everySeconds: number): Cron {
  const refresh = async () => {
    await shop.rememberRates(await fetchRates(AbortSignal.timeout(CALL_TIMEOUT_MS)));
    runs.inc({ result: "done" });
  };
  const guarded = scheduled(shop.breakers.externalApi, refresh, {
    onSkipped: () => runs.inc({ result: "skipped" }),
    onFailed: (error) => {
      runs.inc({ result: "failed" });
      console.warn("the job has failed:", error);
    },
  });
  // At most once at a time, and `interval` seconds apart.
  return new Cron("* * * * * *", { interval: everySeconds, protect: true }, guarded);
}
