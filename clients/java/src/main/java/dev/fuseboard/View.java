package dev.fuseboard;

/**
 * What this process knows of a breaker, without asking.
 *
 * @param state null where nothing is known
 * @param generation +1 at each transition
 * @param callerState where this client's own caller stands: anything but closed means that it is isolated
 * @param override what an operator holds it in, or null
 * @param isFresh a closed state would be believed
 */
public record View(State state, long generation, State callerState, OverrideMode override, boolean isFresh) {}
