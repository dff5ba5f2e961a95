package dev.fuseboard;

/** How a permitted call went. */
public enum Outcome implements OnWire {
  /** The dependency answered as it should. */
  SUCCESS(1),
  /** The dependency failed. */
  FAILURE(2),
  /** The dependency did not answer in time: a failure, told apart in the numbers. */
  TIMEOUT(3),
  /** The call says nothing about the dependency (a 404, a validation error). */
  IGNORED(4),
  /** The call never finished (the user went away). */
  CANCELLED(5);

  private final int wire;

  Outcome(int wire) {
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
