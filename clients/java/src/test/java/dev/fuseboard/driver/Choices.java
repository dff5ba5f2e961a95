package dev.fuseboard.driver;

import com.google.gson.JsonObject;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import dev.fuseboard.BreakerOptions;
import dev.fuseboard.FuseboardClient;
import dev.fuseboard.Mode;
import dev.fuseboard.Policy;
import dev.fuseboard.WhenUnavailable;
import java.time.Duration;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.function.Function;

/** The options of a client or a breaker, as a command has them. */
final class Choices {
  private final JsonObject options;

  Choices(JsonObject command) {
    options = command.has("options") ? command.getAsJsonObject("options") : new JsonObject();
  }

  FuseboardClient.Builder client() {
    FuseboardClient.Builder builder = FuseboardClient.builder();
    choose("address", Function.identity(), builder::address);
    choose("caller", Function.identity(), builder::caller);
    choose("token", Function.identity(), builder::token);
    choose("mode", Choices::mode, builder::mode);
    choose("when_unavailable", Choices::whenUnavailable, builder::whenUnavailable);
    choose("acquire_timeout_ms", Choices::ms, builder::acquireTimeout);
    choose("report_timeout_ms", Choices::ms, builder::reportTimeout);
    choose("report_interval_ms", Choices::ms, builder::reportInterval);
    choose("progress_interval_ms", Choices::ms, builder::progressInterval);
    choose("max_staleness_ms", Choices::ms, builder::maxStaleness);
    choose("close_timeout_ms", Choices::ms, builder::closeTimeout);
    return builder;
  }

  BreakerOptions breaker() {
    BreakerOptions[] made = {BreakerOptions.defaults()};
    if (options.has("policy")) {
      made[0] = made[0].withPolicy(policy(options.getAsJsonObject("policy")));
    }
    choose("revision", Long::parseLong, revision -> made[0] = made[0].withRevision(revision));
    choose("mode", Choices::mode, mode -> made[0] = made[0].withMode(mode));
    choose("when_unavailable", Choices::whenUnavailable, when -> made[0] = made[0].withWhenUnavailable(when));
    choose("call_timeout_ms", Choices::ms, limit -> made[0] = made[0].withCallTimeout(limit));
    return made[0];
  }

  private <T> void choose(String name, Function<String, T> read, Consumer<T> set) {
    if (options.has(name) && !options.get(name).isJsonNull()) {
      set.accept(read.apply(options.get(name).getAsString()));
    }
  }

  private static Mode mode(String name) {
    return Mode.valueOf(name.toUpperCase(Locale.ROOT));
  }

  private static WhenUnavailable whenUnavailable(String name) {
    return WhenUnavailable.valueOf(name.toUpperCase(Locale.ROOT));
  }

  private static Duration ms(String ms) {
    return ms(Double.parseDouble(ms));
  }

  static Duration ms(double ms) {
    return Duration.ofNanos(Math.round(ms * 1e6));
  }

  static Policy policy(JsonObject json) {
    dev.fuseboard.v1.Policy.Builder message = dev.fuseboard.v1.Policy.newBuilder();
    try {
      JsonFormat.parser().merge(json == null ? "{}" : json.toString(), message);
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalArgumentException(error);
    }
    return Policy.of(message.build());
  }
}
