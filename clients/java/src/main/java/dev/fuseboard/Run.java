package dev.fuseboard;

import java.util.ArrayDeque;

/** When the last failures and timeouts without a success in between happened, in the order of recording. Pure. */
final class Run {
  /** Oldest first. */
  private final ArrayDeque<Long> failures = new ArrayDeque<>();

  /** Adds a failure. As many are kept as the rules need. */
  void add(long now, LocalBreaker.Rules rules) {
    while (failures.size() >= rules.failureThreshold()) {
      failures.removeFirst();
    }
    failures.addLast(now);
  }

  void addAll(Run other, LocalBreaker.Rules rules) {
    other.failures.forEach(at -> add(at, rules));
  }

  void clear() {
    failures.clear();
  }

  /** It is as long as the threshold. */
  boolean reaches(LocalBreaker.Rules rules) {
    return failures.size() >= rules.failureThreshold();
  }

  /** It is long and young enough to open a breaker at its last failure. It was added to under these rules alone. */
  boolean trips(LocalBreaker.Rules rules) {
    return reaches(rules)
        && (rules.monitoringPeriod() == 0 || last() - failures.getFirst() < rules.monitoringPeriod());
  }

  /** When its last failure was. */
  long last() {
    return failures.getLast();
  }
}
