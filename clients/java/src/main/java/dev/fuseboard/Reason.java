package dev.fuseboard;

/** Why a call was rejected. */
public enum Reason implements OnWire {
  /** The breaker is open. */
  OPEN(1),
  /** All probes are out, or the next one is another caller's. */
  HALF_OPEN_FULL(2),
  /** This caller's own calls keep failing; it alone is refused. */
  CALLER_ISOLATED(3),
  /** An operator holds the breaker open. */
  FORCED_OPEN(4),
  /** The server could not be asked, and {@link WhenUnavailable#REJECT} holds. */
  UNAVAILABLE(100);

  private static final Reason[] ALL = values();

  private final int wire;

  Reason(int wire) {
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
  static Reason ofWire(int wire) {
    return OnWire.find(ALL, wire);
  }
}
