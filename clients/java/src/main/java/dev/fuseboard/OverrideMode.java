package dev.fuseboard;

/** A state that an operator holds a breaker in, over the computed one. */
public enum OverrideMode implements OnWire {
  /** Every call is rejected. */
  FORCED_OPEN(1),
  /** Every call is permitted. */
  FORCED_CLOSED(2),
  /** Every call is permitted, and events say what would have happened. */
  SHADOW(3);

  private static final OverrideMode[] ALL = values();

  private final int wire;

  OverrideMode(int wire) {
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
  static OverrideMode ofWire(int wire) {
    return OnWire.find(ALL, wire);
  }
}
