package dev.fuseboard;

/** What happened to a breaker. */
public enum EventKind implements OnWire {
  /** It tripped, or a recovery failed. */
  OPENED(1),
  /** The open period has passed: probes are permitted. */
  HALF_OPENED(2),
  /** Enough probes succeeded. */
  CLOSED(3),
  /** It was reset. */
  RESET(4),
  /** The policy in force changed. */
  POLICY_CHANGED(5),
  /** An operator set an override. */
  OVERRIDE_SET(6),
  /** An override was cleared, or has ended. */
  OVERRIDE_CLEARED(7),
  /** It would have opened, had it not been in shadow. */
  WOULD_HAVE_OPENED(8),
  /** It was deleted. */
  DELETED(9),
  /** One caller is refused, and nobody else. */
  CALLER_ISOLATED(10),
  /** An isolated caller is permitted probes. */
  CALLER_HALF_OPENED(11),
  /** A caller is no longer isolated. */
  CALLER_RESTORED(12),
  /** Events were lost: the server no longer had them. Never on the wire. */
  RESYNC(100);

  private static final EventKind[] ALL = values();

  private final int wire;

  EventKind(int wire) {
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
  static EventKind ofWire(int wire) {
    return OnWire.find(ALL, wire);
  }
}
