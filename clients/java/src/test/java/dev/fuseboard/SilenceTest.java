package dev.fuseboard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.fuseboard.v1.BreakerServiceGrpc;
import dev.fuseboard.v1.ReportBatchResponse;
import dev.fuseboard.v1.SessionBatch;
import dev.fuseboard.v1.SessionBatchReported;
import dev.fuseboard.v1.SessionRequest;
import dev.fuseboard.v1.SessionResponse;
import io.grpc.Server;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** The frames without answers by which the server keeps silent sessions from being cut. */
class SilenceTest {
  /** A server that sends frames without answers, and answers batches only once it is told to. */
  private static final class Quiet extends BreakerServiceGrpc.BreakerServiceImplBase {
    private final AtomicInteger sessions = new AtomicInteger();
    private final AtomicInteger frames = new AtomicInteger();
    private volatile boolean answers;

    @Override
    public StreamObserver<SessionRequest> session(StreamObserver<SessionResponse> responses) {
      sessions.incrementAndGet();
      responses.onNext(SessionResponse.getDefaultInstance());
      return new StreamObserver<>() {
        @Override
        public void onNext(SessionRequest request) {
          frames.incrementAndGet();
          responses.onNext(SessionResponse.getDefaultInstance());
          if (!answers) {
            return;
          }
          SessionResponse.Builder response = SessionResponse.newBuilder();
          for (SessionBatch batch : request.getBatchesList()) {
            response.addBatches(
                SessionBatchReported.newBuilder()
                    .setNumber(batch.getNumber())
                    .setResponse(ReportBatchResponse.getDefaultInstance()));
          }
          responses.onNext(response.build());
        }

        @Override
        public void onError(Throwable ended) {
          // The client is closed at the end of the test.
        }

        @Override
        public void onCompleted() {
          responses.onCompleted();
        }
      };
    }
  }

  @Test
  void aFrameWithoutAnswersMeansNothing() throws Exception {
    Quiet fake = new Quiet();
    Server server = NettyServerBuilder.forPort(0).addService(fake).build().start();
    FuseboardClient.Builder options =
        FuseboardClient.builder()
            .address("127.0.0.1:" + server.getPort())
            .caller("test/1")
            .acquireTimeout(Duration.ofMillis(20))
            .maxStaleness(Duration.ofHours(1))
            .whenUnavailable(WhenUnavailable.PERMIT);
    try (FuseboardClient client = options.build()) {
      TestServer.eventually("hellos are sent again", () -> fake.frames.get() >= 3);
      assertFalse(client.stats().isUsable(), "frames without answers made the session usable");
      fake.answers = true;
      TestServer.eventually("an answer makes it usable", () -> client.stats().isUsable());
      client.breaker("db").acquire().success();
      assertEquals(1, fake.sessions.get());
    } finally {
      server.shutdownNow();
    }
  }
}
