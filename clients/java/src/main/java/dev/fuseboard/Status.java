package dev.fuseboard;

import dev.fuseboard.v1.GetStateResponse;

/**
 * What the server says of a breaker.
 *
 * @param state the computed one
 * @param override what an operator holds it in, or null
 * @param generation +1 at each transition
 * @param failures those in a row
 * @param message the server's whole answer: totals, window, callers, policy in force, deadlines
 */
public record Status(State state, OverrideMode override, long generation, long failures, GetStateResponse message) {
  static Status of(GetStateResponse message) {
    return new Status(
        State.ofWire(message.getStatus().getStateValue()),
        OverrideMode.ofWire(message.getStatus().getOverrideModeValue()),
        message.getStatus().getGeneration(),
        message.getStatus().getFailures(),
        message);
  }
}
