package dev.fuseboard;

/** On whose side a failure arose. */
public enum Origin implements OnWire {
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

  @Override
  public int wire() {
    return wire;
  }
}
