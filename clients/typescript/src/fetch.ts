/** Guards `fetch`: one breaker for each host, unless told otherwise. */
import type { Breaker } from "./breaker.js";
import type { Client } from "./client.js";
import { type CallOptions, printableKey, type Verdict } from "./options.js";

const RETRY_AFTER_MAX_MS = 86_400_000;

/** What a guarded fetch goes by. */
export interface FetchOptions {
  /** Default: the global `fetch`. */
  fetch?: typeof fetch;
  /** Longest that a request may take until its answer's head. Default: the breaker's. */
  timeoutMs?: number;
  fallback?: CallOptions<Response>["fallback"];
}

/**
 * A `fetch` whose requests are guarded: by the given breaker, or by one a host (`http/api.test`) of the given client.
 * Broken connections and answers of 5xx and 429 are failures, with the answer's `Retry-After`; every other answer is a
 * success: the host is well, whatever it thinks of the request. The request's own signal makes it `cancelled`.
 */
export function guardedFetch(guard: Breaker | Client, options: FetchOptions = {}): typeof fetch {
  const { fetch: send = fetch, timeoutMs, fallback } = options;
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const breaker = "execute" in guard ? guard : guard.breaker(printableKey(`http/${url.host}`));
    const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    const request = ({ signal }: { signal: AbortSignal }) => send(input, { ...init, signal });
    return breaker.execute<Response>(request, {
      classify,
      ...(signal && { signal }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...(fallback && { fallback }),
    });
  };
}

function classify(error: unknown, response: Response | undefined): Verdict {
  if (!response) {
    const { name = "Error", cause } = (error ?? {}) as Error & { cause?: { code?: string } };
    return { outcome: name === "TimeoutError" ? "timeout" : "failure", errorClass: cause?.code ?? name };
  }
  if (response.status >= 500 || response.status === 429) {
    const retryAfterMs = retryAfter(response.headers.get("retry-after"), Date.now());
    return { outcome: "failure", errorClass: `http_${response.status}`, retryAfterMs };
  }
  return { outcome: "success" };
}

/** What a `Retry-After` asks for; 0 where there is none, or none that can be read. `now` is the wall clock's. */
export function retryAfter(header: string | null, now: number): number {
  const wait = /^\d+$/.test(header ?? "") ? Number(header) * 1e3 : Date.parse(header ?? "") - now;
  return Math.min(Math.max(wait || 0, 0), RETRY_AFTER_MAX_MS);
}
