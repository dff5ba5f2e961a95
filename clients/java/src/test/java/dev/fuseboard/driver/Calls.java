package dev.fuseboard.driver;

import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import dev.fuseboard.Breaker;
import dev.fuseboard.BreakerRejectedException;
import dev.fuseboard.Outcome;
import dev.fuseboard.Report;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeoutException;

/** The command {@code execute}: calls as often as it is told, and tells of the last. */
final class Calls {
  /** The error that a call of a scenario throws. */
  private static final class Thrown extends Exception {
    private static final long serialVersionUID = 1;

    Thrown(String text) {
      super(text);
    }
  }

  private final JsonObject command;
  private final JsonObject call;
  private final Breaker breaker;
  private final Thrown thrown;
  private int permitted;
  private int rejections;

  Calls(JsonObject command, Breaker breaker) {
    this.command = command;
    this.breaker = breaker;
    call = command.getAsJsonObject("call");
    thrown = call.has("throws") ? new Thrown(Driver.text(call, "throws")) : null;
  }

  JsonObject execute() {
    JsonObject last = new JsonObject();
    long longest = 0;
    for (int i = 0; i < Math.max(Driver.number(command, "times"), 1); i++) {
      long start = System.nanoTime();
      last = once();
      longest = Math.max(longest, System.nanoTime() - start);
    }
    last.addProperty("elapsed_ms", Driver.inMs(longest));
    last.addProperty("permitted", permitted);
    last.addProperty("rejections", rejections);
    return last;
  }

  private JsonObject once() {
    Callable<JsonElement> calling =
        () -> {
          permitted++;
          Thread.sleep((long) Driver.number(call, "hangs_ms"));
          if (thrown != null) {
            throw thrown;
          }
          return call.has("returns") ? call.get("returns") : JsonNull.INSTANCE;
        };
    JsonObject answer = new JsonObject();
    try {
      // What has a classifier in the scenarios has no fallback.
      answer.add("value", command.has("fallback") ? withFallback(calling) : breaker.execute(calling, this::classify));
    } catch (BreakerRejectedException rejection) {
      rejections++;
      answer.add("rejected", Driver.rejected(rejection));
    } catch (TimeoutException late) {
      answer.addProperty("timed_out", true);
    } catch (Exception error) {
      answer.addProperty("threw", error.getMessage());
      answer.addProperty("is_same_error", error == thrown);
    }
    return answer;
  }

  private JsonElement withFallback(Callable<JsonElement> calling) throws Exception {
    return breaker.executeOr(
        calling,
        error -> {
          rejections += error instanceof BreakerRejectedException ? 1 : 0;
          return command.get("fallback");
        });
  }

  private Report classify(JsonElement result, Throwable error) {
    Report report = Report.of(result, error);
    if (error != null && error.getMessage() != null && error.getMessage().equals(Driver.text(command, "ignore"))) {
      report = Report.of(Outcome.IGNORED);
    }
    double retryAfter = Driver.number(command, "retry_after_ms");
    return retryAfter > 0 ? report.withRetryAfter(Choices.ms(retryAfter)) : report;
  }
}
