/** What happens to breakers, as a client hears it. */
import type { State } from "./options.js";

export type EventKind =
  | "opened"
  | "half_opened"
  | "closed"
  | "reset"
  | "policy_changed"
  | "override_set"
  | "override_cleared"
  | "caller_isolated"
  | "caller_half_opened"
  | "caller_restored"
  | "would_have_opened"
  | "deleted"
  | "unknown"
  /** Events were lost: `lost` of them, or 0 where that cannot be known. */
  | "resync";

export interface BreakerEvent {
  kind: EventKind;
  /** Key of the breaker. Empty for a resync. */
  breaker: string;
  /** Place in the server's event log. */
  sequence: number;
  /** The breaker's generation after it. */
  generation: number;
  /** States before and after: of the breaker, or of the caller's scope. */
  from?: State;
  to?: State;
  /** Why, in the proto's words (`trip_rule`, `probes_succeeded`, …). */
  reason: string;
  /** The trip rule that held, where one did. */
  rule?: string;
  /** Consecutive failures behind it. */
  failures: number;
  /** The caller whose scope moved, or whose call made the move. */
  caller: string;
  /** Who asked for it, and in which words. */
  actor: string;
  comment: string;
  /** By the server's clock. */
  time?: Date;
  /** Moves that it stands for: a burst of the same move is told as one event, the last of them. Absent: one. */
  count?: number;
  /** When the first of them happened. Absent: at `time`. */
  firstTime?: Date;
  lost: number;
}

export const resync = (reason: string, lost: number): BreakerEvent => ({
  kind: "resync",
  breaker: "",
  sequence: 0,
  generation: 0,
  reason,
  failures: 0,
  caller: "",
  actor: "",
  comment: "",
  lost,
});
