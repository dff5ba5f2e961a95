/**
 * Fuseboard's client: circuit breakers that a server keeps for services in any language.
 *
 * @packageDocumentation
 */
export { Breaker, type BreakerView, type CallContext } from "./breaker.js";
export { CircuitBreaker, type CircuitBreakerOptions } from "./circuit-breaker.js";
export { Client, type ClientEvents, type Stats } from "./client.js";
export { BreakerNotFoundError, CallTimeoutError, FuseboardError, RejectedError, ServerError } from "./errors.js";
export type { BreakerEvent, EventKind } from "./events.js";
export type { Observer } from "./observer.js";
export type {
  BreakerOptions,
  CallOptions,
  Classify,
  ClientOptions,
  ExpiredPermit,
  Mode,
  Outcome,
  Policy,
  RejectionReason,
  Source,
  State,
  TlsOptions,
  Verdict,
  WhenUnavailable,
} from "./options.js";
export { type Details, Permit } from "./permit.js";
export { AdaptiveBreaker, presets } from "./presets.js";
