package dev.fuseboard.driver;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.fuseboard.Breaker;
import dev.fuseboard.BreakerNotFoundException;
import dev.fuseboard.BreakerRejectedException;
import dev.fuseboard.Event;
import dev.fuseboard.FuseboardClient;
import dev.fuseboard.LocalScript;
import dev.fuseboard.Origin;
import dev.fuseboard.Outcome;
import dev.fuseboard.Permit;
import dev.fuseboard.Report;
import dev.fuseboard.Stats;
import dev.fuseboard.Status;
import dev.fuseboard.View;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The conformance driver: reads commands from standard input, one JSON object a line, and answers on standard output.
 * {@code clients/conformance/README.md} describes them.
 */
public final class Driver {
  private static final Gson GSON = new GsonBuilder().serializeNulls().create();

  /** Longest wait for an answer of the server's to a question of the driver's. */
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  /** A client with what is remembered of it. */
  private record Driven(
      FuseboardClient client, AtomicLong manual, List<Event> events, Map<String, Breaker> breakers) {}

  private final Map<String, Driven> clients = new ConcurrentHashMap<>();
  private final Map<String, Permit> permits = new ConcurrentHashMap<>();

  private Driver() {}

  /** Runs until its input ends. */
  public static void main(String[] arguments) throws IOException {
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    Driver driver = new Driver();
    ExecutorService executor =
        Executors.newCachedThreadPool(
            work -> {
              Thread thread = new Thread(work, "command");
              thread.setDaemon(true);
              return thread;
            });
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject command = JsonParser.parseString(line).getAsJsonObject();
      executor.execute(
          () -> {
            JsonObject answer = new JsonObject();
            answer.add("id", command.get("id"));
            try {
              answer.add("ok", driver.run(command));
            } catch (Exception error) {
              answer.addProperty("error", error.toString());
            }
            synchronized (out) {
              out.println(GSON.toJson(answer));
              out.flush();
            }
          });
    }
    driver.clients.values().parallelStream().forEach(driven -> driven.client().close());
  }

  private JsonObject run(JsonObject command) throws Exception {
    String what = text(command, "do");
    switch (what) {
      case "client" -> {
        return makeClient(command);
      }
      case "local" -> {
        return playLocal(command);
      }
      case "report", "forget" -> {
        return report(command);
      }
      default -> {}
    }
    Driven driven = clients.get(text(command, "client"));
    if (driven == null) {
      throw new IllegalArgumentException("there is no client " + text(command, "client"));
    }
    switch (what) {
      case "ready" -> {
        return ready(driven, Choices.ms(number(command, "timeout_ms")));
      }
      case "advance" -> {
        driven.manual().addAndGet(Choices.ms(number(command, "ms")).toNanos());
        return new JsonObject();
      }
      case "events" -> {
        return eventsOf(driven.events());
      }
      case "stats" -> {
        return statsOf(driven.client().stats());
      }
      case "close" -> {
        long start = System.nanoTime();
        driven.client().close();
        return with("elapsed_ms", inMs(System.nanoTime() - start));
      }
      default -> {}
    }
    Breaker breaker = breaker(driven, command);
    return switch (what) {
      case "breaker" -> new JsonObject();
      case "acquire" -> acquire(command, breaker);
      case "execute" -> new Calls(command, breaker).execute();
      case "view" -> viewOf(breaker.view());
      case "state" -> stateOf(breaker);
      case "reset" -> reset(breaker, text(command, "reason"));
      default -> throw new IllegalArgumentException("there is no command " + what);
    };
  }

  private JsonObject makeClient(JsonObject command) {
    FuseboardClient.Builder options = new Choices(command).client();
    AtomicLong manual = new AtomicLong(1_000_000_000);
    if (command.has("manual_time") && command.get("manual_time").getAsBoolean()) {
      options.clock(manual::get);
    }
    Driven driven = new Driven(options.build(), manual, new CopyOnWriteArrayList<>(), new ConcurrentHashMap<>());
    driven.client().listen(driven.events()::add);
    clients.put(text(command, "client"), driven);
    return new JsonObject();
  }

  private static Breaker breaker(Driven driven, JsonObject command) {
    return driven
        .breakers()
        .computeIfAbsent(
            text(command, "breaker"), key -> driven.client().breaker(key, new Choices(command).breaker()));
  }

  private static JsonObject ready(Driven driven, Duration limit) throws InterruptedException {
    try {
      driven.client().ready(limit);
      return with("ready", true);
    } catch (TimeoutException | IllegalStateException late) {
      return with("ready", false);
    }
  }

  private JsonObject acquire(JsonObject command, Breaker breaker) throws InterruptedException {
    long start = System.nanoTime();
    JsonObject answer;
    try {
      Permit permit = breaker.acquire();
      permits.put(text(command, "permit"), permit);
      answer = with("decision", "permitted");
      answer.addProperty("source", permit.source().toString());
    } catch (BreakerRejectedException rejection) {
      answer = rejected(rejection);
    }
    answer.addProperty("elapsed_ms", inMs(System.nanoTime() - start));
    return answer;
  }

  private JsonObject report(JsonObject command) {
    Permit permit = permits.get(text(command, "permit"));
    if (text(command, "do").equals("forget")) {
      permit.close();
    } else if (command.has("wait") && command.get("wait").getAsBoolean()) {
      permit.reportAndWait(reportOf(command));
    } else {
      permit.report(reportOf(command));
    }
    return new JsonObject();
  }

  private static Report reportOf(JsonObject command) {
    double duration = number(command, "duration_ms");
    double retryAfter = number(command, "retry_after_ms");
    String origin = text(command, "origin");
    return new Report(
        Outcome.valueOf(text(command, "outcome").toUpperCase(Locale.ROOT)),
        duration > 0 ? Choices.ms(duration) : null,
        text(command, "error_class"),
        retryAfter > 0 ? Choices.ms(retryAfter) : null,
        origin.isEmpty() ? null : Origin.valueOf(origin.toUpperCase(Locale.ROOT)));
  }

  private static JsonObject stateOf(Breaker breaker) {
    try {
      Status status = breaker.state(PATIENCE);
      JsonObject answer = with("state", name(status.state()));
      answer.addProperty("generation", status.generation());
      answer.addProperty("failures", status.failures());
      answer.addProperty("successes", status.message().getTotals().getSuccesses());
      answer.addProperty("total_failures", status.message().getTotals().getFailures());
      answer.addProperty("rejected", status.message().getTotals().getRejected());
      answer.addProperty("stale", status.message().getTotals().getStale());
      return answer;
    } catch (BreakerNotFoundException unknown) {
      return with("not_found", true);
    }
  }

  private static JsonObject reset(Breaker breaker, String reason) {
    try {
      breaker.reset(reason, PATIENCE);
      return new JsonObject();
    } catch (BreakerNotFoundException unknown) {
      return with("not_found", true);
    }
  }

  private static JsonObject viewOf(View view) {
    JsonObject answer = with("state", name(view.state()));
    answer.addProperty("generation", view.generation());
    answer.addProperty("caller_state", name(view.callerState()));
    answer.addProperty("override_mode", name(view.override()));
    answer.addProperty("fresh", view.isFresh());
    return answer;
  }

  private static JsonObject eventsOf(List<Event> events) {
    JsonArray told = new JsonArray();
    for (Event event : events) {
      JsonObject one = with("kind", event.kind().toString());
      one.addProperty("breaker", event.breaker());
      one.addProperty("generation", event.generation());
      one.addProperty("sequence", event.sequence());
      one.addProperty("caller", event.caller());
      one.addProperty("lost", event.lost());
      told.add(one);
    }
    JsonObject answer = new JsonObject();
    answer.add("events", told);
    return answer;
  }

  private static JsonObject statsOf(Stats stats) {
    JsonObject answer = new JsonObject();
    // A record is an object with the names of its components: those of the protocol of drivers.
    answer.add("permits", GSON.toJsonTree(stats.permits()));
    answer.add("rejections", GSON.toJsonTree(stats.rejections()));
    answer.addProperty("reported", stats.reported());
    answer.addProperty("dropped_reports", stats.droppedReports());
    answer.addProperty("dropped_rejections", stats.droppedRejections());
    answer.addProperty("unreported", stats.unreported());
    answer.addProperty("stale_reports", stats.staleReports());
    answer.addProperty("reconnects", stats.reconnects());
    answer.addProperty("resyncs", stats.resyncs());
    answer.addProperty("staleness_ms", inMs(stats.staleness().toNanos()));
    answer.addProperty("usable", stats.isUsable());
    return answer;
  }

  /** Plays the local breaker alone. */
  private static JsonObject playLocal(JsonObject command) {
    LocalScript local = new LocalScript(Choices.policy(command.getAsJsonObject("policy")));
    JsonArray results = new JsonArray();
    for (JsonElement element : command.getAsJsonArray("steps")) {
      JsonObject step = element.getAsJsonObject();
      Duration at = Choices.ms(number(step, "at_ms"));
      if (text(step, "do").equals("acquire")) {
        BreakerRejectedException rejection = local.acquire(text(step, "permit"), at);
        results.add(rejection == null ? with("decision", "permitted") : rejected(rejection));
      } else {
        local.report(text(step, "permit"), reportOf(step), at);
      }
    }
    JsonObject answer = new JsonObject();
    answer.add("results", results);
    return answer;
  }

  static JsonObject rejected(BreakerRejectedException rejection) {
    JsonObject answer = with("decision", "rejected");
    answer.addProperty("source", rejection.source().toString());
    answer.addProperty("reason", rejection.reason().toString());
    answer.addProperty("retry_after_ms", inMs(rejection.retryAfter().toNanos()));
    answer.addProperty("state", name(rejection.state().orElse(null)));
    return answer;
  }

  static JsonObject with(String name, Object value) {
    JsonObject object = new JsonObject();
    object.add(name, value == null ? JsonNull.INSTANCE : GSON.toJsonTree(value));
    return object;
  }

  private static String name(Object value) {
    return value == null ? null : value.toString();
  }

  static double inMs(long nanos) {
    return nanos / 1e6;
  }

  static String text(JsonObject object, String name) {
    return object.has(name) && !object.get(name).isJsonNull() ? object.get(name).getAsString() : "";
  }

  static double number(JsonObject object, String name) {
    return object.has(name) && !object.get(name).isJsonNull() ? object.get(name).getAsDouble() : 0;
  }
}
