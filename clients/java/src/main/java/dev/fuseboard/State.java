package dev.fuseboard;

/** What a breaker has computed from the calls reported to it. */
public enum State {
  /** Calls are permitted. */
  CLOSED(1),
  /** Calls are rejected until the open period has passed. */
  OPEN(2),
  /** A few calls are permitted, as probes. */
  HALF_OPEN(3);

  private final int wire;

  State(int wire) {
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
  public static State ofWire(int wire) {
    for (State value : values()) {
      if (value.wire == wire) {
        return value;
      }
    }
    return null;
  }
}
