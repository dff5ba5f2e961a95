/** What operators look at: health and metrics, by the numbers of the breakers' server. */
import { type Breaker, ServerError } from "fuseboard";
import { Counter, Gauge, Registry, register } from "prom-client";
import type { Breakers } from "./breakers.js";

type Known = Awaited<ReturnType<Breaker["state"]>>;

interface BreakerHealth {
  name: string;
  state: string;
  /** In a row. Null where it is not known. */
  failures: number | null;
  open: boolean;
}

/** The server's word on each breaker; empty where it cannot be asked. */
async function states({ byName }: Breakers): Promise<Map<string, Known>> {
  try {
    return new Map(await Promise.all([...byName].map(async ([name, each]) => [name, await each.state()] as const)));
  } catch (error) {
    if (error instanceof ServerError) {
      return new Map();
    }
    throw error;
  }
}

/**
 * Every breaker, and `degraded` while one of them is open. Without the server this process tells what it knows itself;
 * `failures` is then not known.
 */
export async function health(breakers: Breakers) {
  const known = await states(breakers);
  const report = known.size ? [...known].map(told) : [...breakers.byName.values()].map(remembered);
  const status = report.some(({ open }) => open) ? "degraded" : "healthy";
  return { status, fuseboard: known.size > 0, breakers: report };
}

function told([name, { status }]: [string, Known]): BreakerHealth {
  const state = STATES[status?.state ?? 0] ?? "closed";
  return {
    name,
    state,
    failures: status?.failures ?? 0,
    open: state === "open" || status?.overrideMode === FORCED_OPEN,
  };
}

function remembered(breaker: Breaker): BreakerHealth {
  const view = breaker.view();
  const state = view?.state ?? "closed";
  return { name: breaker.key, state, failures: null, open: state === "open" || view?.override === "forced_open" };
}

/** The proto's numbers for a state, and for a breaker that an operator holds open. */
const STATES: Record<number, string> = { 1: "closed", 2: "open", 3: "half_open" };
const FORCED_OPEN = 1;

/**
 * Prometheus' text: this process' own numbers, and the breakers' as the server has them. The latter are the whole fleet's
 * and the same on every replica: `max by (breaker)` counts nothing twice.
 */
export async function metrics(breakers: Breakers): Promise<string> {
  const known = await states(breakers);
  const registry = new Registry();
  const options = { labelNames: ["breaker"], registers: [registry] };
  const up = new Gauge({
    name: "fuseboard_up",
    help: "1: the breakers' server has answered. 0: their numbers are left out.",
    registers: [registry],
  });
  up.set(known.size ? 1 : 0);
  const opens = new Counter({ name: "breaker_opens_total", help: "Times it went to open, in the fleet.", ...options });
  const closes = new Counter({
    name: "breaker_closes_total",
    help: "Times it went from half-open to closed, in the fleet.",
    ...options,
  });
  const failures = new Counter({
    name: "breaker_failures_total",
    help: "Failed calls, of the whole fleet.",
    ...options,
  });
  const lastOpen = new Gauge({
    name: "breaker_last_open_timestamp_seconds",
    help: "When it last went to open.",
    ...options,
  });
  const lastClose = new Gauge({
    name: "breaker_last_close_timestamp_seconds",
    help: "When it last closed.",
    ...options,
  });
  for (const [breaker, { totals }] of known) {
    opens.inc({ breaker }, totals?.opens ?? 0);
    closes.inc({ breaker }, totals?.closes ?? 0);
    failures.inc({ breaker }, totals?.failures ?? 0);
    if (totals?.lastOpenTime) {
      lastOpen.set({ breaker }, totals.lastOpenTime.getTime() / 1e3);
    }
    if (totals?.lastCloseTime) {
      lastClose.set({ breaker }, totals.lastCloseTime.getTime() / 1e3);
    }
  }
  return `${await register.metrics()}\n${await registry.metrics()}`;
}
