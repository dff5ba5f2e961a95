/** Express: a route behind a breaker, and rejections as 503. */
import type { Breaker } from "./breaker.js";
import { RejectedError } from "./errors.js";
import type { Permit } from "./permit.js";

/** What of an Express response is needed here. */
interface Response {
  statusCode: number;
  headersSent: boolean;
  writableFinished: boolean;
  setHeader(name: string, value: string): unknown;
  once(event: "close", listener: () => void): unknown;
  end(body?: string): unknown;
}
type Next = (error?: unknown) => void;

/** The body and headers of a rejection, as both frameworks answer it. */
export function rejection(error: RejectedError): { retryAfter: string; body: string } {
  const retryAfter = String(Math.max(1, Math.ceil(error.retryAfterMs / 1e3)));
  return { retryAfter, body: JSON.stringify({ error: "unavailable", breaker: error.breaker, reason: error.reason }) };
}

/**
 * An error handler, the last middleware: a `RejectedError` from any route becomes a 503 with a `Retry-After` in seconds. Other
 * errors go on.
 */
export function rejectionHandler() {
  return (error: unknown, _request: unknown, response: Response, next: Next): void => {
    if (!(error instanceof RejectedError) || response.headersSent) {
      next(error);
      return;
    }
    answer(response, error);
  };
}

/**
 * Guards the routes behind it: rejected requests are answered 503 with a `Retry-After`, and what a route answers is
 * the outcome: 5xx a failure, anything else a success, a user who went away `cancelled`.
 */
export function guardRoute(breaker: Breaker) {
  return async (_request: unknown, response: Response, next: Next): Promise<void> => {
    let permit: Permit;
    try {
      permit = await breaker.acquire();
    } catch (error) {
      if (error instanceof RejectedError) {
        answer(response, error);
      } else {
        next(error);
      }
      return;
    }
    response.once("close", () => {
      if (!response.writableFinished) {
        void permit.cancelled();
      } else if (response.statusCode >= 500) {
        void permit.failure({ errorClass: `http_${response.statusCode}` });
      } else {
        void permit.success();
      }
    });
    next();
  };
}

function answer(response: Response, error: RejectedError): void {
  const { retryAfter, body } = rejection(error);
  response.statusCode = 503;
  response.setHeader("Retry-After", retryAfter);
  response.setHeader("Content-Type", "application/json");
  response.end(body);
}
