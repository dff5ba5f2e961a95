package dev.fuseboard;

/** On whose side a failure arose. */
public enum Origin {
  /** The dependency, or the way to it. */
  DEPENDENCY(1),
  /** The caller itself (out of file descriptors, could not resolve). It counts for nobody. */
  LOCAL(2);

  private final int wire;

  Origin(int wire) {
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
  public static Origin ofWire(int wire) {
    for (Origin value : values()) {
      if (value.wire == wire) {
        return value;
      }
    }
    return null;
  }
}
