package dev.fuseboard;

import dev.failsafe.CircuitBreaker;
import dev.failsafe.Failsafe;
import dev.failsafe.FailsafeExecutor;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;

/**
 * What a decision costs, as JSON lines: an empty call, this client's cached and strict decisions against a server of its own
 * (FUSEBOARD_BIN), and two in-process libraries, side by side.
 */
public final class Bench {
  /** How long each is measured, in each of the rounds. The first rounds warm up; the last is told. */
  private static final long TIME = 500_000_000L;

  private static final int ROUNDS = 4;

  private static long sink;

  private Bench() {}

  /** Measures and prints. */
  public static void main(String[] arguments) throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().build()) {
      Breaker cached = client.breaker("cached");
      Breaker strict = client.breaker("strict", BreakerOptions.defaults().withMode(Mode.STRICT));
      client.ready(TestServer.PATIENCE);
      Callable<Long> call = () -> sink;
      cached.execute(call);
      io.github.resilience4j.circuitbreaker.CircuitBreaker resilience4j =
          io.github.resilience4j.circuitbreaker.CircuitBreaker.ofDefaults("bench");
      FailsafeExecutor<Long> failsafe =
          Failsafe.with(CircuitBreaker.<Long>builder().withFailureThreshold(5).withDelay(Duration.ofSeconds(30)).build());
      Map<String, Callable<Long>> all = new LinkedHashMap<>();
      all.put("empty", call);
      all.put("cached", () -> cached.execute(call));
      all.put("strict", () -> strict.execute(call));
      all.put("resilience4j", () -> resilience4j.executeCallable(call));
      all.put("failsafe", () -> failsafe.get(call::call));
      for (int round = 1; round <= ROUNDS; round++) {
        for (Map.Entry<String, Callable<Long>> one : all.entrySet()) {
          double ns = measure(one.getValue());
          if (round == ROUNDS) {
            System.out.printf(
                "{\"language\": \"java\", \"what\": \"%s\", \"ns_per_call\": %.0f}%n", one.getKey(), ns);
          }
        }
      }
      Stats stats = client.stats();
      if (stats.permits().local() + stats.rejections().server() + stats.rejections().cached() > 0) {
        throw new IllegalStateException("not all calls were decided as they should: " + stats);
      }
    }
  }

  private static double measure(Callable<Long> call) throws Exception {
    long start = System.nanoTime();
    long calls = 0;
    long now = start;
    for (; now - start < TIME; now = System.nanoTime()) {
      for (int i = 0; i < 256; i++) {
        sink += call.call();
      }
      calls += 256;
    }
    return (double) (now - start) / calls;
  }
}
