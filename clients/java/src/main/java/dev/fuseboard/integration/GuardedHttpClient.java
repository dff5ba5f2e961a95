package dev.fuseboard.integration;

import dev.fuseboard.Breaker;
import dev.fuseboard.Outcome;
import dev.fuseboard.Report;
import java.io.IOException;
import java.net.ConnectException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/**
 * A {@link HttpClient} under breakers. An exception and a status of 500 and above are failures, a timeout is a timeout, and
 * any other answer a success; a Retry-After of a 429 or 5xx goes into the report. The answer comes back untouched.
 */
public final class GuardedHttpClient {
  private final HttpClient client;
  private final Function<HttpRequest, Breaker> breakers;

  /** {@code breakers} says which one guards a request. */
  public GuardedHttpClient(HttpClient client, Function<HttpRequest, Breaker> breakers) {
    this.client = client;
    this.breakers = breakers;
  }

  /**
   * {@link HttpClient#send}, if the breaker permits it.
   *
   * @throws dev.fuseboard.BreakerRejectedException where it does not
   */
  public <T> HttpResponse<T> send(HttpRequest request, HttpResponse.BodyHandler<T> body)
      throws IOException, InterruptedException {
    try {
      return breakers.apply(request).execute(() -> client.send(request, body), GuardedHttpClient::classify);
    } catch (IOException | InterruptedException | RuntimeException error) {
      throw error;
    } catch (Exception timeout) {
      throw new IOException(timeout);
    }
  }

  /** {@link HttpClient#sendAsync}; completed with a BreakerRejectedException where the breaker does not permit it. */
  public <T> CompletableFuture<HttpResponse<T>> sendAsync(HttpRequest request, HttpResponse.BodyHandler<T> body) {
    return breakers.apply(request).executeAsync(() -> client.sendAsync(request, body), GuardedHttpClient::classify);
  }

  /** What a response or an error says about the dependency. */
  public static Report classify(HttpResponse<?> response, Throwable error) {
    if (error instanceof ConnectException) {
      return Report.of(Outcome.FAILURE).withErrorClass("connect");
    }
    if (error != null) {
      return Report.of(null, error);
    }
    int status = response.statusCode();
    Report report = Report.of(status >= 500 ? Outcome.FAILURE : Outcome.SUCCESS);
    if (status >= 500) {
      report = report.withErrorClass("http_" + status);
    }
    String retryAfter = response.headers().firstValue("retry-after").orElse("");
    return status >= 500 || status == 429 ? report.withRetryAfter(retryAfter(retryAfter, Instant.now())) : report;
  }

  /** A Retry-After header, in seconds or as a date; null for none, or one in the past. */
  static Duration retryAfter(String header, Instant now) {
    if (header.matches("[0-9]{1,9}")) {
      return Duration.ofSeconds(Long.parseLong(header));
    }
    try {
      Instant until = ZonedDateTime.parse(header, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
      return until.isAfter(now) ? Duration.between(now, until) : null;
    } catch (DateTimeException none) {
      return null;
    }
  }
}
