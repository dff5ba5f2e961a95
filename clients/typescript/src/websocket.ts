/** WebSocket message handlers under a breaker; for `ws` and whatever has its `send`. */
import type { Breaker } from "./breaker.js";
import { RejectedError } from "./errors.js";

interface Socket {
  send(data: string): void;
}

export interface MessageOptions {
  /** What a user is told whose message was rejected. Default: JSON with `error`, `breaker`, `reason` and `retryAfterMs`. */
  rejected?: (error: RejectedError) => string;
  /** Told of a handler that failed. Default: nothing; the socket stays open. */
  onFailed?: (error: unknown) => void;
}

const notice = ({ breaker, reason, retryAfterMs }: RejectedError): string =>
  JSON.stringify({ error: "unavailable", breaker, reason, retryAfterMs: Math.ceil(retryAfterMs) });

/**
 * The handler, guarded: `socket.on("message", guardedMessages(breaker, socket, handle))`. A message that is rejected is
 * answered; nothing that happens here closes the socket or ends the process.
 */
export function guardedMessages<A extends unknown[]>(
  breaker: Breaker,
  socket: Socket,
  handle: (...args: A) => unknown,
  { rejected = notice, onFailed }: MessageOptions = {},
): (...args: A) => Promise<void> {
  return async (...args) => {
    try {
      await breaker.execute(() => handle(...args));
    } catch (error) {
      if (error instanceof RejectedError && error.breaker === breaker.key) {
        socket.send(rejected(error));
      } else {
        onFailed?.(error);
      }
    }
  };
}
