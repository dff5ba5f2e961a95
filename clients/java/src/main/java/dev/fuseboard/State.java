package dev.fuseboard;

/** What a breaker has computed from the calls reported to it. */
public enum State implements OnWire {
  /** Calls are permitted. */
  CLOSED(1),
  /** Calls are rejected until the open period has passed. */
  OPEN(2),
  /** A few calls are permitted, as probes. */
  HALF_OPEN(3);

  private static final State[] ALL = values();

  private final int wire;

  State(int wire) {
    this.wire = wire;
  }

  /** The name that logs, metrics and the clients of all languages use. */
  @Override
  public String toString() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }

  @Override
  public int wire() {
    return wire;
  }

  /** The value of a number in the protocol; null for one that this client does not know. */
  static State ofWire(int wire) {
    return OnWire.find(ALL, wire);
  }
}
