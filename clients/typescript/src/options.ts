/** What a user can set. Durations are milliseconds, and their names end in `Ms`. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Observer } from "./observer.js";

export type State = "closed" | "open" | "half_open";
export type Outcome = "success" | "failure" | "timeout" | "ignored" | "cancelled";
/** Who decided: the client's memory, the server, the local breaker, or the rule for the time without a server. */
export type Source = "cached" | "server" | "local" | "unavailable";
export type RejectionReason = "open" | "half_open_full" | "caller_isolated" | "forced_open" | "unavailable";
export type Mode = "cached" | "strict";
export type WhenUnavailable = "local" | "permit" | "reject";

/** What a permit counts as when its lease ends and nobody has reported it. */
export type ExpiredPermit = "failure" | "timeout" | "ignored";

export const BREAKERS_MAX = 1_000;
export const KEY_BYTES_MAX = 200;

/** A connection that is encrypted. PEM everywhere. */
export interface TlsOptions {
  /** The authorities that the server's certificate is checked with. Default: the system's. */
  roots?: Buffer;
  /** The client's own certificate chain and key, for servers that ask for one. */
  certificate?: Buffer;
  key?: Buffer;
  /** Name that the certificate is for, where it is not the address's. */
  serverName?: string;
}

export interface ClientOptions {
  /** `host:port`, or with `http://` or `https://`. Default: `FUSEBOARD_ADDRESS`, else `127.0.0.1:50051`. */
  address?: string;
  /** Who asks, as `service/instance`. Default: `FUSEBOARD_CALLER`, else made of `FUSEBOARD_SERVICE`, host and process. */
  caller?: string;
  /** Sent as `authorization: Bearer …`. Default: `FUSEBOARD_TOKEN`, else none. */
  token?: string;
  tls?: TlsOptions | boolean;
  /** Decide in memory, or ask for every call. Default: `cached`. */
  mode?: Mode;
  /** Who decides while the server cannot be asked. Default: `local`. */
  whenUnavailable?: WhenUnavailable;
  /** Longest wait for an answer to an acquire. Default: 50. */
  acquireTimeoutMs?: number;
  /** Longest wait of `execute` for the answer to a report. Default: 50. */
  reportTimeoutMs?: number;
  /** How long successes are gathered. Default: 100. */
  reportIntervalMs?: number;
  /** How often the server says that it is there. 1,000 to 60,000. Default: 2,000. */
  progressIntervalMs?: number;
  /** How old what the watch said may be. Default: twice the progress interval. */
  maxStalenessMs?: number;
  /** Longest wait of `close`. Default: 1,000. */
  closeTimeoutMs?: number;
  /** Told what happens, for logs and metrics. Default: warnings go to `process.emitWarning`. */
  observer?: Observer;
  /** For tests: monotonic milliseconds. */
  clock?: () => number;
}

/** What a classifier says of a call. */
export interface Verdict {
  outcome: Outcome;
  /** A short class of the error, for people. At most 64 bytes of printable ASCII. */
  errorClass?: string;
  /** What the dependency asked for by a retry-after of its own. */
  retryAfterMs?: number;
  /** The failure arose on the caller's own side: it never counts for all. */
  local?: boolean;
}

/** Says how a call went, by its error, or by its result where there is none. */
export type Classify<T = any> = (error: unknown, result: T | undefined) => Outcome | Verdict;

/** What a service declares for a breaker; see docs/breaker.md. Fields left out are inherited; the server checks ranges. */
export interface Policy {
  failureThreshold?: number;
  monitoringPeriodMs?: number;
  failureCountThreshold?: number;
  failureRateThreshold?: number;
  slowCallDurationMs?: number;
  slowCallRateThreshold?: number;
  slowCallMinimumCalls?: number;
  window?: { durationMs: number; slices?: number } | { calls: number };
  minimumCalls?: number;
  openDurationMs?: number;
  openBackoff?: { multiplier?: number; maxDurationMs?: number; jitter?: number };
  probes?: number;
  successesToClose?: number;
  failuresToReopen?: number;
  halfOpenMaxDurationMs?: number;
  retryAfterMaxMs?: number;
  leaseMs?: number;
  minCallers?: number;
  share?: number;
  /** What an unreported probe counts as when its lease ends. Default: `failure`. */
  expiredProbe?: ExpiredPermit;
  /** What any other unreported permit counts as. Default: `ignored`. */
  expiredPermit?: ExpiredPermit;
  /**
   * Whose evidence the quorum counts: each caller's, or each service's (the part of the name before the first `/`).
   * Default: `instance`.
   */
  voters?: "instance" | "service";
  /** Which reports may trip it: any, or failures only (for the slow-call rule, slow calls). Default: `any`. */
  tripOn?: "any" | "failure";
  /**
   * Shortest `openDurationMs` that the policy accepts, against a unit mistake. Set it below the default to permit
   * shorter open periods. 1 to 86,400,000; 0 is refused. Default: 100.
   */
  openDurationMinMs?: number;
}

/** Options of one call. */
export interface CallOptions<T = any> {
  /** Longest that the call may take; its outcome is then `timeout` and its signal is aborted. Default: no limit. */
  timeoutMs?: number;
  /** Default: any error is a failure, an `AbortError` of the user's own signal is `cancelled`. */
  classify?: Classify<T>;
  /** Gets the error of a call that was rejected or failed; its answer is `execute`'s. */
  fallback?: (error: unknown) => T | Promise<T>;
  /** Ends the call from outside: its outcome is then `cancelled`. */
  signal?: AbortSignal;
}

export interface BreakerOptions<T = any> extends CallOptions<T> {
  /** What is declared. Default: nothing, and the server's default is in force. */
  policy?: Policy;
  /** Which declaration this is: the highest stands. Default: 0, the last one stands. */
  revision?: number;
  mode?: Mode;
  whenUnavailable?: WhenUnavailable;
}

/** A client's options, checked. */
export interface Settings {
  address: string;
  caller: string;
  token: string;
  tls: TlsOptions | undefined;
  mode: Mode;
  whenUnavailable: WhenUnavailable;
  acquireTimeoutMs: number;
  reportTimeoutMs: number;
  reportIntervalMs: number;
  progressIntervalMs: number;
  maxStalenessMs: number;
  closeTimeoutMs: number;
  clientId: string;
}

/** Checks a client's options and fills in what the environment says. Throws a `RangeError` that names the option. */
export function settingsOf(options: ClientOptions): Settings {
  const env = process.env;
  const given = options.address || env.FUSEBOARD_ADDRESS || "127.0.0.1:50051";
  const isTls = given.startsWith("https://");
  const address = given.replace(/^https?:\/\//, "").replace(/\/$/, "");
  if (!/:\d+$/.test(address)) {
    throw new RangeError(`address ${address} has no port: say host:port`);
  }
  const progressIntervalMs = between("progressIntervalMs", options.progressIntervalMs ?? 2_000, 1_000, 60_000);
  return {
    address,
    caller: printableKey(options.caller || env.FUSEBOARD_CALLER || `${service()}/${instance()}`),
    token: options.token ?? env.FUSEBOARD_TOKEN ?? "",
    tls: options.tls === true || (isTls && !options.tls) ? {} : options.tls || undefined,
    mode: oneOf("mode", options.mode ?? "cached", ["cached", "strict"]),
    whenUnavailable: oneOf("whenUnavailable", options.whenUnavailable ?? "local", ["local", "permit", "reject"]),
    acquireTimeoutMs: between("acquireTimeoutMs", options.acquireTimeoutMs ?? 50, 1, 60_000),
    reportTimeoutMs: between("reportTimeoutMs", options.reportTimeoutMs ?? 50, 0, 60_000),
    reportIntervalMs: between("reportIntervalMs", options.reportIntervalMs ?? 100, 1, 60_000),
    progressIntervalMs,
    maxStalenessMs: between("maxStalenessMs", options.maxStalenessMs ?? 2 * progressIntervalMs, 1, 3_600_000),
    closeTimeoutMs: between("closeTimeoutMs", options.closeTimeoutMs ?? 1_000, 0, 60_000),
    clientId: randomBytes(16).toString("hex"),
  };
}

export const service = (): string => process.env.FUSEBOARD_SERVICE || "app";
export const instance = (): string => `${hostname()}-${process.pid}`;

/** The text with what a key cannot hold made `-`, and cut to a key's length. */
export const printableKey = (text: string): string => text.replace(/[^A-Za-z0-9._\-:/]/g, "-").slice(0, KEY_BYTES_MAX);

/** The key, checked. Throws a `RangeError` that says what a key is. */
export function checkKey(key: string): string {
  if (!key || key !== printableKey(key)) {
    throw new RangeError(`breaker ${JSON.stringify(key)} is not a key: 1 to 200 bytes of A-Z a-z 0-9 . _ - : /`);
  }
  return key;
}

function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value)) {
    throw new RangeError(`${name} is ${JSON.stringify(value)}: say one of ${allowed.join(", ")}`);
  }
  return value;
}

export function between(name: string, value: number, least: number, most: number): number {
  if (!(value >= least && value <= most)) {
    throw new RangeError(`${name} is ${value}: say ${least} to ${most}`);
  }
  return value;
}
