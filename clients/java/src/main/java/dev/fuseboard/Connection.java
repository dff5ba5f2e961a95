package dev.fuseboard;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.ForwardingClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import java.util.concurrent.TimeUnit;

/**
 * The client's one connection. It can be replaced: a wire that swallows everything, but is acknowledged by a system on the
 * way, is noticed by no keepalive.
 */
final class Connection {
  /** Bounds one attempt to connect. */
  private static final int CONNECT_TIMEOUT_MS = 3_000;

  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final FuseboardClient client;
  private ManagedChannel channel;
  private boolean isClosed;

  Connection(FuseboardClient client) {
    this.client = client;
    channel = dial();
  }

  private ManagedChannel dial() {
    NettyChannelBuilder builder =
        NettyChannelBuilder.forTarget("dns:///" + client.address)
            .executor(client.executor)
            .disableRetry()
            // The control plane is reached directly: a proxy for the web in the environment is not meant for it.
            .proxyDetector(address -> null)
            .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_TIMEOUT_MS)
            .keepAliveTime(10, TimeUnit.SECONDS)
            .keepAliveTimeout(5, TimeUnit.SECONDS)
            .idleTimeout(1, TimeUnit.DAYS)
            .maxInboundMessageSize(16 << 20);
    if (client.tls == null) {
      builder.usePlaintext();
    } else {
      builder.sslContext(client.tls.context());
      if (client.tls.serverName() != null) {
        builder.overrideAuthority(client.tls.serverName());
      }
    }
    return builder.build();
  }

  /** For requests, which carry the token. What the library waits between its own attempts is cut short: ours holds. */
  synchronized Channel channel() {
    channel.resetConnectBackoff();
    return client.token == null ? channel : ClientInterceptors.intercept(channel, new WithToken(client.token));
  }

  /** Dials anew. The streams of the old connection end. */
  void replace() {
    ManagedChannel old;
    synchronized (this) {
      if (isClosed) {
        return;
      }
      old = channel;
      channel = dial();
    }
    old.shutdownNow();
  }

  synchronized void close() {
    isClosed = true;
    channel.shutdownNow();
  }

  /** Sends the token with each request. */
  private record WithToken(String token) implements ClientInterceptor {
    @Override
    public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
      return new ForwardingClientCall.SimpleForwardingClientCall<>(next.newCall(method, options)) {
        @Override
        public void start(Listener<R> listener, Metadata headers) {
          headers.put(AUTHORIZATION, "Bearer " + token);
          super.start(listener, headers);
        }
      };
    }
  }
}
