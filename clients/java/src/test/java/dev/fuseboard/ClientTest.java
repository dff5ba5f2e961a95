package dev.fuseboard;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;

/** The client against the real server. */
class ClientTest {
  private static final IOException REFUSED = new IOException("refused");

  private static BreakerOptions threeFailures() {
    Policy policy =
        Policy.builder().failureThreshold(3).openDuration(Duration.ofSeconds(30)).minCallers(1).build();
    return BreakerOptions.defaults().withPolicy(policy);
  }

  private static void fail(Breaker breaker) {
    IOException thrown = assertThrows(IOException.class, () -> breaker.execute(() -> {
      throw REFUSED;
    }));
    assertSame(REFUSED, thrown, "the call's own error, untouched");
  }

  @Test
  void aCallersOwnTripRejectsItsVeryNextCall() throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().build()) {
      Breaker db = client.breaker("db", threeFailures());
      client.ready(TestServer.PATIENCE);
      for (int i = 0; i < 3; i++) {
        fail(db);
      }
      BreakerRejectedException rejection = assertThrows(BreakerRejectedException.class, db::acquire);
      assertEquals(Reason.OPEN, rejection.reason());
      assertEquals(Source.CACHED, rejection.source());
      assertEquals(State.OPEN, rejection.state().orElseThrow());
      assertTrue(rejection.retryAfter().toSeconds() > 20);
      assertEquals(3, db.state(TestServer.PATIENCE).message().getTotals().getFailures());
      db.reset("the test says so", TestServer.PATIENCE);
      assertEquals(7, db.execute(() -> 7));
    }
  }

  @Test
  void aFallbackAnswersAndAClassifierDecidesWhatCounts() throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().build()) {
      Breaker db = client.breaker("db", threeFailures());
      client.ready(TestServer.PATIENCE);
      for (int i = 0; i < 9; i++) {
        assertThrows(IOException.class, () -> db.execute(() -> {
          throw REFUSED;
        }, (result, error) -> Report.of(Outcome.IGNORED)));
      }
      assertEquals(State.CLOSED, db.view().state());
      for (int i = 0; i < 9; i++) {
        assertEquals("from the cache", db.executeOr(() -> {
          throw REFUSED;
        }, error -> "from the cache"));
      }
      assertEquals(State.OPEN, db.view().state());
    }
  }

  @Test
  void aCallThatTakesTooLongIsInterruptedAndCountsAsATimeout() throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().build()) {
      Breaker db = client.breaker("db", threeFailures().withCallTimeout(Duration.ofMillis(5)));
      client.ready(TestServer.PATIENCE);
      assertThrows(TimeoutException.class, () -> db.execute(() -> {
        Thread.sleep(60_000);
        return 1;
      }));
      assertTrue(!Thread.currentThread().isInterrupted(), "the interrupt was taken back");
      CompletableFuture<Integer> never = db.executeAsync(CompletableFuture::new);
      assertInstanceOf(TimeoutException.class, assertThrows(ExecutionException.class, never::get).getCause());
      assertEquals(2, db.state(TestServer.PATIENCE).message().getTotals().getTimeouts());
    }
  }

  @Test
  void anAsynchronousCallIsReportedAsItEnds() throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().mode(Mode.STRICT).build()) {
      Breaker db = client.breaker("db", threeFailures());
      client.ready(TestServer.PATIENCE);
      assertEquals(7, db.executeAsync(() -> CompletableFuture.supplyAsync(() -> 7)).get());
      for (int i = 0; i < 3; i++) {
        CompletableFuture<Integer> failing = db.executeAsync(() -> CompletableFuture.failedFuture(REFUSED));
        assertSame(REFUSED, assertThrows(ExecutionException.class, failing::get).getCause());
      }
      CompletableFuture<Permit> rejected = db.acquireAsync();
      Throwable cause = assertThrows(ExecutionException.class, rejected::get).getCause();
      assertEquals(Source.SERVER, assertInstanceOf(BreakerRejectedException.class, cause).source());
    }
  }

  @Test
  void hooksThatThrowHarmNoCall() throws Exception {
    Observer clumsy = new Observer() {
      @Override
      public void decided(String breaker, Source source, Reason rejected) {
        throw new IllegalStateException("clumsy");
      }
    };
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().observer(clumsy).build()) {
      Breaker db = client.breaker("db", threeFailures());
      client.listen(event -> {
        throw new IllegalStateException("clumsy");
      });
      client.ready(TestServer.PATIENCE);
      assertEquals(7, db.execute(() -> 7, (result, error) -> {
        throw new IllegalStateException("clumsy");
      }));
      TestServer.eventually("the call was told", () -> client.stats().reported() == 1);
    }
  }

  @Test
  void anUnreportedPermitGivesAProbesPlaceBack() throws Exception {
    try (TestServer server = TestServer.start("--manual-clock");
        FuseboardClient client = server.client().build();
        ManualClock clock = new ManualClock(server.address())) {
      Breaker db = client.breaker("db", threeFailures().withMode(Mode.STRICT));
      client.ready(TestServer.PATIENCE);
      for (int i = 0; i < 3; i++) {
        fail(db);
      }
      clock.advance(Duration.ofSeconds(30));
      try (Permit probe = db.acquire()) {
        assertEquals(Source.SERVER, probe.source());
        assertEquals(Reason.HALF_OPEN_FULL, assertThrows(BreakerRejectedException.class, db::acquire).reason());
      }
      TestServer.eventually("its place is free", () -> client.stats().reported() == 4);
      db.acquire().success();
    }
  }

  @Test
  void withoutAServerCallsAreDecidedAsEachBreakerSays() throws Exception {
    try (FuseboardClient client = FuseboardClient.builder().address("127.0.0.1:1").build()) {
      BreakerOptions options = BreakerOptions.defaults();
      assertEquals(Source.LOCAL, client.breaker("a").acquire().source());
      Breaker permit = client.breaker("b", options.withWhenUnavailable(WhenUnavailable.PERMIT));
      assertEquals(Source.UNAVAILABLE, permit.acquire().source());
      Breaker reject = client.breaker("c", options.withWhenUnavailable(WhenUnavailable.REJECT));
      assertEquals(Reason.UNAVAILABLE, assertThrows(BreakerRejectedException.class, reject::acquire).reason());
    }
  }

  @Test
  void aReturnedServerIsAskedAgainAndTellsWhatHappens() throws Exception {
    TestServer first = TestServer.start();
    List<Event> events = Collections.synchronizedList(new ArrayList<>());
    try (FuseboardClient client = first.client().build()) {
      Breaker db = client.breaker("db", BreakerOptions.defaults().withMode(Mode.STRICT));
      client.listen(events::add);
      client.ready(TestServer.PATIENCE);
      db.acquire().success();
      first.close();
      TestServer.eventually("it is away", () -> !client.stats().isUsable());
      assertEquals(Source.LOCAL, db.acquire().source());
      try (TestServer second = TestServer.startAt(first.address())) {
        assertEquals(first.address(), second.address());
        TestServer.eventually("session and watch are back", () -> client.stats().reconnects() >= 2);
        TestServer.eventually("it is usable", () -> client.stats().isUsable());
        assertEquals(Source.SERVER, db.acquire().source());
        db.reset("to be heard", TestServer.PATIENCE);
        TestServer.eventually("the reset was told", () ->
            List.copyOf(events).stream().anyMatch(event ->
                event.kind() == EventKind.RESET && event.comment().equals("to be heard")));
      }
    }
  }

  @Test
  void closeTellsWhatWaitsAndCallsGoOnWithoutTheServer() throws Exception {
    try (TestServer server = TestServer.start()) {
      FuseboardClient client = server.client().reportInterval(Duration.ofHours(1)).build();
      Breaker db = client.breaker("db");
      client.ready(TestServer.PATIENCE);
      for (int i = 0; i < 10; i++) {
        assertEquals(1, db.execute(() -> 1));
      }
      final Permit late = db.acquire();
      client.close();
      assertArrayEquals(new long[] {10, 0}, new long[] {client.stats().reported(), client.stats().droppedReports()});
      late.success();
      assertEquals(1, client.stats().droppedReports(), "a permit that is reported after it is lost, and counted");
      assertEquals(Source.LOCAL, db.acquire().source());
      client.close();
      TestServer.eventually("no thread of the client's is left", () ->
          Thread.getAllStackTraces().keySet().stream().noneMatch(thread -> thread.getName().equals("fuseboard")));
    }
  }

  @Test
  void theTwoStepsStopAtTheThresholdWithoutWaitingForAReport() throws Exception {
    for (Mode mode : Mode.values()) {
      try (TestServer server = TestServer.start(); FuseboardClient client = server.client().mode(mode).build()) {
        for (int round = 0; round < 20; round++) {
          Breaker db = client.breaker("two/" + round, threeFailures());
          client.ready(TestServer.PATIENCE);
          db.acquire().success();
          int calls = 0;
          for (int i = 0; i < 200; i++) {
            Permit permit;
            try {
              permit = round % 2 == 0 ? db.acquire() : db.acquireAsync().get();
            } catch (BreakerRejectedException | ExecutionException rejected) {
              continue;
            }
            calls++;
            permit.failure();
          }
          assertEquals(3, calls, "calls that reached the dependency");
        }
      }
    }
  }

  @Test
  void failuresAtOnceAndASuccessBeforeTheyAreSentOpenToo() throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().build()) {
      for (int failures : new int[] {3, 5, 10, 50}) {
        Breaker db = client.breaker("at-once/" + failures, threeFailures());
        client.ready(TestServer.PATIENCE);
        db.acquire().success();
        List<Permit> permits = new ArrayList<>();
        for (int i = 0; i <= failures; i++) {
          permits.add(db.acquire());
        }
        permits.subList(0, failures).forEach(Permit::failure);
        permits.get(failures).success();
        assertThrows(BreakerRejectedException.class, db::acquire, failures + " failures and a success");
      }
    }
  }

  @Test
  void outcomesOfTwoGenerationsThatAlternateAreAllTold() throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().build()) {
      Breaker db = client.breaker("db", threeFailures());
      client.ready(TestServer.PATIENCE);
      db.acquire().success();
      TestServer.eventually("it is told", () -> client.stats().reported() == 1);
      List<Permit> permits = new ArrayList<>();
      for (int i = 0; i < 60; i++) {
        if (i == 30) {
          db.reset("drill", TestServer.PATIENCE);
        }
        permits.add(db.acquire());
      }
      for (int i = 0; i < 30; i++) {
        permits.get(i).success();
        permits.get(30 + i).success();
      }
      TestServer.eventually("all 60 are told", () -> client.stats().reported() == 61);
      assertEquals(31, db.state(TestServer.PATIENCE).message().getTotals().getSuccesses());
      assertEquals(0, client.stats().droppedReports());
      assertEquals(30, client.stats().staleReports());
    }
  }

  @Test
  void theLocalBreakerKnowsTheFailuresFromBeforeTheServerWasLost() throws Exception {
    TestServer server = TestServer.start();
    try (FuseboardClient client = server.client().build()) {
      Breaker db = client.breaker("db", threeFailures());
      client.ready(TestServer.PATIENCE);
      fail(db);
      fail(db);
      server.close();
      TestServer.eventually("the server is away", () -> !client.stats().isUsable());
      fail(db);
      assertThrows(BreakerRejectedException.class, db::acquire, "after the third failure in a row");
    }
  }

  @Test
  void aFakeDecidesWithoutAServer() throws Exception {
    FuseboardFake fake = new FuseboardFake();
    try (FuseboardClient client = fake.client()) {
      Breaker db = client.breaker("db");
      assertEquals(1, db.execute(() -> 1));
      fake.open("db", Duration.ofSeconds(9));
      BreakerRejectedException rejection = assertThrows(BreakerRejectedException.class, db::acquire);
      assertEquals(Duration.ofSeconds(9), rejection.retryAfter());
      assertThrows(BreakerRejectedException.class, () -> db.supplier(() -> 1).get());
      db.reset("over", TestServer.PATIENCE);
      db.runnable(() -> {}).run();
      assertEquals(2, fake.count("db", Outcome.SUCCESS));
      assertEquals(1, fake.resets("db"));
    }
  }
}
