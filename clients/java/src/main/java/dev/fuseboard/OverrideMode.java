package dev.fuseboard;

/** A state that an operator holds a breaker in, over the computed one. */
public enum OverrideMode {
  /** Every call is rejected. */
  FORCED_OPEN(1),
  /** Every call is permitted. */
  FORCED_CLOSED(2),
  /** Every call is permitted, and events say what would have happened. */
  SHADOW(3);

  private final int wire;

  OverrideMode(int wire) {
    this.wire = wire;
  }

  /** The name that logs, metrics and the clients of all languages use. */
  @Override
  public String toString() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }

  /** Its number in the protocol; at least 100 where it is never on the wire. */
  public int wire() {
    return wire;
  }

  /** The value of a number in the protocol; null for one that this client does not know. */
  public static OverrideMode ofWire(int wire) {
    for (OverrideMode value : values()) {
      if (value.wire == wire) {
        return value;
      }
    }
    return null;
  }
}
