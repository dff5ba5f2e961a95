package dev.fuseboard;

/** The server has never seen this breaker. */
public final class BreakerNotFoundException extends RuntimeException {
  private static final long serialVersionUID = 1;

  BreakerNotFoundException(String breaker, Throwable cause) {
    super("breaker \"" + breaker + "\" is not known to the server", cause);
  }
}
