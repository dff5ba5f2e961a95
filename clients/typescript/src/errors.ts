/** What a client throws. The errors of the user's own calls are never wrapped. */
import type { RejectionReason, Source, State } from "./options.js";

/** Every error of this package's own. */
export class FuseboardError extends Error {
  override name = "FuseboardError";
}

/** A call was rejected: it was not made. */
export class RejectedError extends FuseboardError {
  override name = "RejectedError";

  constructor(
    /** Key of the breaker. */
    readonly breaker: string,
    readonly reason: RejectionReason,
    /** When to come back. At least 10. */
    readonly retryAfterMs: number,
    /** State that it was decided in, where it is known. */
    readonly state: State | undefined,
    /** Who decided. */
    readonly source: Source,
  ) {
    super(`breaker ${breaker} rejected the call (${reason}): try again in ${Math.ceil(retryAfterMs)} ms`);
  }
}

/** The call took longer than `timeoutMs`. It was reported as `timeout`. */
export class CallTimeoutError extends FuseboardError {
  override name = "CallTimeoutError";

  constructor(readonly timeoutMs: number) {
    super(`the call took longer than ${timeoutMs} ms`);
  }
}

/** The server could not do what an operator's call asked for (`state`, `reset`, `declare`). */
export class ServerError extends FuseboardError {
  override name = "ServerError";
}

/** The server has never seen this breaker. */
export class BreakerNotFoundError extends ServerError {
  override name = "BreakerNotFoundError";
}
