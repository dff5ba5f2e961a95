package dev.fuseboard;

/** How calls are decided. */
public enum Mode {
  /** In this process's memory while the breaker is closed or open. */
  CACHED,
  /** By the server, each call. */
  STRICT
}
