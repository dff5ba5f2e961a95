package dev.fuseboard.integration;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.RetryInfo;
import dev.fuseboard.Breaker;
import dev.fuseboard.BreakerRejectedException;
import dev.fuseboard.Outcome;
import dev.fuseboard.Permit;
import dev.fuseboard.Report;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.function.Function;

/**
 * Puts breakers before gRPC calls, unary and streams; a stream's outcome is its end. UNAVAILABLE, INTERNAL, UNKNOWN,
 * RESOURCE_EXHAUSTED and DATA_LOSS are failures, DEADLINE_EXCEEDED a timeout, CANCELLED cancelled, any other code a success;
 * a RetryInfo of a failure goes into the report.
 *
 * <p>A rejected call ends with UNAVAILABLE, whose cause is the {@link BreakerRejectedException}. Where the server has to be
 * asked, the start of a call waits for the answer, at most {@code acquireTimeout}.
 */
public final class BreakerInterceptor implements ClientInterceptor {
  private final Function<MethodDescriptor<?, ?>, Breaker> breakers;

  /** {@code breakers} says which one guards a method. */
  public BreakerInterceptor(Function<MethodDescriptor<?, ?>, Breaker> breakers) {
    this.breakers = breakers;
  }

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    return new Guarded<>(breakers.apply(method), next.newCall(method, options));
  }

  /** A call that is handed on once its breaker has permitted it. */
  private static final class Guarded<Q, R> extends ClientCall<Q, R> {
    private final Breaker breaker;
    private final ClientCall<Q, R> call;
    private boolean isRejected;

    private Guarded(Breaker breaker, ClientCall<Q, R> call) {
      this.breaker = breaker;
      this.call = call;
    }

    @Override
    public void start(Listener<R> listener, Metadata headers) {
      Permit permit;
      try {
        permit = breaker.acquire();
      } catch (BreakerRejectedException rejection) {
        reject(listener, Status.UNAVAILABLE.withDescription(rejection.getMessage()).withCause(rejection));
        return;
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        reject(listener, Status.CANCELLED.withDescription("interrupted").withCause(interrupted));
        return;
      }
      try {
        call.start(
            new SimpleForwardingClientCallListener<>(listener) {
              @Override
              public void onClose(Status status, Metadata trailers) {
                permit.report(classify(status, trailers));
                super.onClose(status, trailers);
              }
            },
            headers);
      } catch (RuntimeException error) {
        permit.close();
        throw error;
      }
    }

    private void reject(Listener<R> listener, Status status) {
      isRejected = true;
      listener.onClose(status, new Metadata());
    }

    @Override
    public void request(int messages) {
      if (!isRejected) {
        call.request(messages);
      }
    }

    @Override
    public void cancel(String message, Throwable cause) {
      if (!isRejected) {
        call.cancel(message, cause);
      }
    }

    @Override
    public void halfClose() {
      if (!isRejected) {
        call.halfClose();
      }
    }

    @Override
    public void sendMessage(Q message) {
      if (!isRejected) {
        call.sendMessage(message);
      }
    }

    @Override
    public boolean isReady() {
      return !isRejected && call.isReady();
    }
  }

  /** What a call's end says about the dependency. */
  public static Report classify(Status status, Metadata trailers) {
    Outcome outcome =
        switch (status.getCode()) {
          case UNAVAILABLE, INTERNAL, UNKNOWN, RESOURCE_EXHAUSTED, DATA_LOSS -> Outcome.FAILURE;
          case DEADLINE_EXCEEDED -> Outcome.TIMEOUT;
          case CANCELLED -> Outcome.CANCELLED;
          default -> Outcome.SUCCESS;
        };
    Report report = Report.of(outcome);
    if (outcome != Outcome.FAILURE && outcome != Outcome.TIMEOUT) {
      return report;
    }
    return report.withErrorClass("grpc_" + status.getCode()).withRetryAfter(retryAfter(status, trailers));
  }

  private static Duration retryAfter(Status status, Metadata trailers) {
    for (Any detail : StatusProto.fromStatusAndTrailers(status, trailers).getDetailsList()) {
      if (detail.is(RetryInfo.class)) {
        try {
          com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
          return Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        } catch (InvalidProtocolBufferException garbled) {
          return null;
        }
      }
    }
    return null;
  }
}
