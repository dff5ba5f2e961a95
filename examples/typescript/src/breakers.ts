/** One breaker for each dependency, shared by all replicas. What one replica sees opens them for all. */
import { AdaptiveBreaker, type Breaker, type Client, type Policy, presets } from "fuseboard";
import { CALL_TIMEOUT_MS } from "./settings.js";

export type Breakers = ReturnType<typeof breakersOf>;

export function breakersOf(client: Client) {
  const options = (policy: Policy) => ({ policy: shared(policy), timeoutMs: CALL_TIMEOUT_MS });
  const breaker = (key: string, policy: Policy): Breaker => client.breaker(key, options(policy));

  const database = breaker("database", { failureThreshold: 5, openDurationMs: 30_000 });
  const cache = breaker("cache", { failureThreshold: 10, openDurationMs: 10_000 });
  const externalApi = breaker("external-api", { failureThreshold: 3, openDurationMs: 60_000 });
  // fast, slow, sensitive and tolerant
  const preset = Object.entries(presets).map(([name, policy]) => [name, breaker(`partner-${name}`, policy)] as const);
  // After 100 calls of the fleet with more than half failing it declares the tighter policy, with a higher revision:
  // that keeps state and statistics, and a replica that starts later does not undo it.
  const adaptive = new AdaptiveBreaker(client, "partner-adaptive", {
    ...options(presets.tolerant),
    tightened: shared({ failureThreshold: 3, openDurationMs: 60_000 }),
  });
  const every = [database, cache, externalApi, ...preset.map(([, each]) => each), adaptive.breaker];
  return {
    database,
    cache,
    externalApi,
    partners: new Map<string, Pick<Breaker, "execute">>([...preset, ["adaptive", adaptive]]),
    byName: new Map(every.map((each) => [each.key, each])),
  };
}

/** With two replicas, one that sees failures is evidence enough (the default asks for two callers). */
const shared = (policy: Policy): Policy => ({ ...policy, minCallers: 1 });
