package dev.fuseboard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fuseboard.integration.BreakerInterceptor;
import dev.fuseboard.integration.GuardedHttpClient;
import java.io.IOException;
import java.net.http.HttpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The README's snippets, word by word: run here, and compared with it. */
class ReadmeTest {
  private final List<String> said = new CopyOnWriteArrayList<>();

  private String charge() {
    return "charged";
  }

  private void send() throws IOException {
    said.add("sent");
  }

  private void log(Exception error) {
    said.add(error.getMessage());
  }

  private void alert(String text) {
    said.add(text);
  }

  private String protectACall() throws Exception {
    try (FuseboardClient client = FuseboardClient.builder().caller("web/1").build()) {
      Policy policy = Policy.builder().failureThreshold(5).openDuration(Duration.ofSeconds(30)).build();
      Breaker payments = client.breaker(
          "payments", BreakerOptions.defaults().withPolicy(policy).withCallTimeout(Duration.ofSeconds(2)));

      return payments.executeOr(() -> charge(), error -> "queued");
    }
  }

  private String withoutAFallback(Breaker payments) throws Exception {
    try {
      return payments.execute(() -> charge());
    } catch (BreakerRejectedException rejection) {
      return "try again in " + rejection.retryAfter().toSeconds() + " s";
    }
  }

  private void twoSteps(Breaker breaker) throws InterruptedException {
    try (Permit permit = breaker.acquire()) {
      send();
      permit.success();
    } catch (IOException error) {
      // The permit was closed before this, and counted as cancelled.
      log(error);
    }
  }

  private void hear(FuseboardClient client) {
    client.listen(event -> {
      switch (event.kind()) {
        case OPENED -> alert(event.breaker() + " is open");
        case RESYNC -> alert("events were lost: look at the state");
        default -> {}
      }
    });
  }

  private List<Object> inFrameworks(FuseboardClient client) {
    GuardedHttpClient http = new GuardedHttpClient(
        HttpClient.newHttpClient(), request -> client.breaker("http/" + request.uri().getHost()));

    BreakerInterceptor guard = new BreakerInterceptor(method -> client.breaker(method.getFullMethodName()));
    return List.of(http, guard);
  }

  private String pay(FuseboardClient client) throws Exception {
    return client.breaker("payments").executeOr(() -> charge(), error -> "queued");
  }

  @Test
  void theSnippetsDoWhatTheReadmeSays() throws Exception {
    // Nobody has to listen at the default address.
    assertTrue(List.of("charged", "queued").contains(protectACall()));
    FuseboardFake fake = new FuseboardFake();
    fake.open("payments", Duration.ofSeconds(30));
    assertEquals("queued", pay(fake.client()));
    try (FuseboardClient client = fake.client()) {
      Breaker payments = client.breaker("payments");
      assertEquals("try again in 30 s", withoutAFallback(payments));
      fake.close("payments");
      assertEquals("charged", withoutAFallback(payments));
      twoSteps(payments);
      assertEquals(List.of("sent"), said);
      assertEquals(2, fake.count("payments", Outcome.SUCCESS));
      assertEquals(2, inFrameworks(client).size());
    }
  }

  @Test
  void listenersHearOfAnOpenedBreaker() throws Exception {
    try (TestServer server = TestServer.start(); FuseboardClient client = server.client().build()) {
      Policy policy = Policy.builder().failureThreshold(1).minCallers(1).build();
      Breaker payments = client.breaker("payments", BreakerOptions.defaults().withPolicy(policy));
      hear(client);
      client.ready(TestServer.PATIENCE);
      payments.acquire().reportAndWait(Report.of(Outcome.FAILURE));
      TestServer.eventually("an alert", () -> said.contains("payments is open"));
    }
  }

  @Test
  void theReadmeShowsWhatIsRunHere() throws IOException {
    String here = unindented(Files.readString(Path.of("src/test/java/dev/fuseboard/ReadmeTest.java")));
    String[] parts = Files.readString(Path.of("README.md")).split("```java\n");
    assertTrue(parts.length >= 6, "the README has " + (parts.length - 1) + " snippets");
    for (int i = 1; i < parts.length; i++) {
      String snippet = unindented(parts[i].substring(0, parts[i].indexOf("```")).strip());
      assertTrue(here.contains(snippet), "this is not run here:\n" + snippet);
    }
  }

  private static String unindented(String text) {
    return text.lines().map(String::strip).collect(Collectors.joining("\n"));
  }
}
