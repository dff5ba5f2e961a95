package dev.fuseboard.integration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.Any;
import com.google.rpc.RetryInfo;
import com.sun.net.httpserver.HttpServer;
import dev.fuseboard.Breaker;
import dev.fuseboard.BreakerRejectedException;
import dev.fuseboard.FuseboardClient;
import dev.fuseboard.FuseboardFake;
import dev.fuseboard.Outcome;
import dev.fuseboard.Report;
import dev.fuseboard.v1.BreakerServiceGrpc;
import dev.fuseboard.v1.GetStateRequest;
import dev.fuseboard.v1.GetStateResponse;
import dev.fuseboard.v1.WatchEventsRequest;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

/** Breakers in front of HTTP and gRPC. */
class IntegrationTest {
  private final FuseboardFake fake = new FuseboardFake();

  @Test
  void httpCountsA500AsAFailureAndA404AsASuccess() throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext("/", exchange -> {
      exchange.sendResponseHeaders(Integer.parseInt(exchange.getRequestURI().getPath().substring(1)), -1);
      exchange.close();
    });
    server.start();
    try (FuseboardClient client = fake.client()) {
      Breaker page = client.breaker("page");
      GuardedHttpClient http = new GuardedHttpClient(HttpClient.newHttpClient(), request -> page);
      String base = "http://127.0.0.1:" + server.getAddress().getPort() + "/";
      for (int status : new int[] {200, 404, 503}) {
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + status)).build();
        assertEquals(status, http.send(request, HttpResponse.BodyHandlers.discarding()).statusCode());
        assertEquals(status, http.sendAsync(request, HttpResponse.BodyHandlers.discarding()).get().statusCode());
      }
      HttpRequest nobody = HttpRequest.newBuilder(URI.create("http://127.0.0.1:1/")).build();
      assertThrows(ConnectException.class, () -> http.send(nobody, HttpResponse.BodyHandlers.discarding()));
      assertEquals(4, fake.count("page", Outcome.SUCCESS));
      assertEquals(3, fake.count("page", Outcome.FAILURE));
      fake.open("page", Duration.ofSeconds(9));
      assertThrows(
          BreakerRejectedException.class, () -> http.send(nobody, HttpResponse.BodyHandlers.discarding()));
      ExecutionException rejected =
          assertThrows(
              ExecutionException.class, () -> http.sendAsync(nobody, HttpResponse.BodyHandlers.discarding()).get());
      assertInstanceOf(BreakerRejectedException.class, rejected.getCause());
    } finally {
      server.stop(0);
    }
  }

  @Test
  void aRetryAfterIsReadInSecondsAndAsADate() {
    Instant now = Instant.parse("2026-01-01T00:00:00Z");
    assertEquals(Duration.ofSeconds(7), GuardedHttpClient.retryAfter("7", now));
    assertEquals(Duration.ofSeconds(60), GuardedHttpClient.retryAfter("Thu, 1 Jan 2026 00:01:00 GMT", now));
    assertNull(GuardedHttpClient.retryAfter("Thu, 1 Jan 2025 00:01:00 GMT", now));
    assertNull(GuardedHttpClient.retryAfter("soon", now));
  }

  @Test
  void grpcCallsAndStreamsAreGuardedAndARejectionKeepsItsReason() throws Exception {
    BreakerServiceGrpc.BreakerServiceImplBase dependency = new BreakerServiceGrpc.BreakerServiceImplBase() {
      @Override
      public void getState(GetStateRequest request, StreamObserver<GetStateResponse> answer) {
        if (request.getBreaker().equals("down")) {
          answer.onError(Status.UNAVAILABLE.asRuntimeException());
          return;
        }
        answer.onNext(GetStateResponse.getDefaultInstance());
        answer.onCompleted();
      }
    };
    Server server = NettyServerBuilder.forPort(0).addService(dependency).build().start();
    ManagedChannel channel =
        NettyChannelBuilder.forTarget("dns:///127.0.0.1:" + server.getPort()).usePlaintext().build();
    try (FuseboardClient client = fake.client()) {
      BreakerInterceptor guard = new BreakerInterceptor(method -> client.breaker(method.getFullMethodName()));
      BreakerServiceGrpc.BreakerServiceBlockingStub stub =
          BreakerServiceGrpc.newBlockingStub(channel).withInterceptors(guard);
      String key = BreakerServiceGrpc.getGetStateMethod().getFullMethodName();
      GetStateRequest fine = GetStateRequest.newBuilder().setBreaker("fine").build();
      stub.getState(fine);
      GetStateRequest down = GetStateRequest.newBuilder().setBreaker("down").build();
      assertThrows(StatusRuntimeException.class, () -> stub.getState(down));
      assertEquals(1, fake.count(key, Outcome.SUCCESS));
      assertEquals(1, fake.count(key, Outcome.FAILURE));
      fake.open(key, Duration.ofSeconds(9));
      StatusRuntimeException rejected = assertThrows(StatusRuntimeException.class, () -> stub.getState(fine));
      assertEquals(Status.Code.UNAVAILABLE, rejected.getStatus().getCode());
      assertInstanceOf(BreakerRejectedException.class, rejected.getStatus().getCause());
      assertThrows(
          StatusRuntimeException.class,
          () -> stub.watchEvents(WatchEventsRequest.getDefaultInstance()).hasNext());
      assertEquals(1, fake.count(BreakerServiceGrpc.getWatchEventsMethod().getFullMethodName(), Outcome.SUCCESS),
          "UNIMPLEMENTED says that the dependency is well");
    } finally {
      channel.shutdownNow();
      server.shutdownNow();
    }
  }

  @Test
  void aRetryInfoGoesIntoTheReport() {
    RetryInfo retry =
        RetryInfo.newBuilder().setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(7)).build();
    com.google.rpc.Status told =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.RESOURCE_EXHAUSTED.value())
            .addDetails(Any.pack(retry))
            .build();
    StatusRuntimeException error = StatusProto.toStatusRuntimeException(told);
    Report report = BreakerInterceptor.classify(error.getStatus(), error.getTrailers());
    assertEquals(Duration.ofSeconds(7), report.retryAfter());
    assertEquals(Outcome.CANCELLED, BreakerInterceptor.classify(Status.CANCELLED, new Metadata()).outcome());
  }
}
