package dev.fuseboard;

import dev.fuseboard.v1.GetStateResponse;
import dev.fuseboard.v1.Totals;
import java.time.Instant;
import java.util.List;

/**
 * What the server says of a breaker.
 *
 * @param state the computed one
 * @param override what an operator holds it in, or null
 * @param generation +1 at each transition
 * @param failures those in a row
 * @param lastSuccess when the last counted call succeeded; null if none did
 * @param lastFailure when the last counted call failed; null if none did
 * @param overrides all that are set, the strongest first: that one is in force
 * @param message the server's whole answer: totals, window, callers, policy in force, deadlines
 */
public record Status(
    State state,
    OverrideMode override,
    long generation,
    long failures,
    Instant lastSuccess,
    Instant lastFailure,
    List<Override> overrides,
    GetStateResponse message) {

  /**
   * A state that an operator holds a breaker in, over the computed one.
   *
   * @param id its name, unique within its breaker
   * @param mode what is forced; null for one that this client does not know
   * @param actor who set it
   * @param reason why it was set
   * @param set when it was set
   * @param expire when it ends by itself; null: it stays until it is cleared
   */
  public record Override(String id, OverrideMode mode, String actor, String reason, Instant set, Instant expire) {
    static Override of(dev.fuseboard.v1.Override message) {
      return new Override(
          message.getId(),
          OverrideMode.ofWire(message.getModeValue()),
          message.getActor(),
          message.getReason(),
          Times.instant(message.getSetTime()),
          message.hasExpireTime() ? Times.instant(message.getExpireTime()) : null);
    }
  }

  static Status of(GetStateResponse message) {
    Totals totals = message.getTotals();
    return new Status(
        State.ofWire(message.getStatus().getStateValue()),
        OverrideMode.ofWire(message.getStatus().getOverrideModeValue()),
        message.getStatus().getGeneration(),
        message.getStatus().getFailures(),
        totals.hasLastSuccessTime() ? Times.instant(totals.getLastSuccessTime()) : null,
        totals.hasLastFailureTime() ? Times.instant(totals.getLastFailureTime()) : null,
        message.getOverridesList().stream().map(Override::of).toList(),
        message);
  }
}
