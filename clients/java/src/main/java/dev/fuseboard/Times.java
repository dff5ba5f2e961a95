package dev.fuseboard;

import com.google.protobuf.Timestamp;
import java.time.Duration;
import java.time.Instant;

/** Between the protocol's times and Java's. */
final class Times {
  private Times() {}

  static long nanos(com.google.protobuf.Duration duration) {
    return duration.getSeconds() * 1_000_000_000L + duration.getNanos();
  }

  static Duration duration(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }

  static com.google.protobuf.Duration message(Duration duration) {
    return com.google.protobuf.Duration.newBuilder()
        .setSeconds(duration.getSeconds())
        .setNanos(duration.getNano())
        .build();
  }

  static com.google.protobuf.Duration message(long nanos) {
    return message(Duration.ofNanos(nanos));
  }

  static Instant instant(Timestamp timestamp) {
    return Instant.ofEpochSecond(timestamp.getSeconds(), timestamp.getNanos());
  }
}
