package dev.fuseboard;

import dev.fuseboard.testing.v1.AdvanceRequest;
import dev.fuseboard.testing.v1.ClockServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import java.time.Duration;

/** The clock of a server that was started with {@code --manual-clock}: its time moves by {@link #advance} only. */
public final class ManualClock implements AutoCloseable {
  private final ManagedChannel channel;

  /** Of the server at {@code host:port}. It connects when it is first used. */
  public ManualClock(String address) {
    channel = NettyChannelBuilder.forTarget("dns:///" + address).usePlaintext().build();
  }

  /**
   * Moves the server's time. What is due by then has happened when this returns.
   *
   * @throws io.grpc.StatusRuntimeException the server's: without {@code --manual-clock} it does not know the method
   */
  public void advance(Duration by) {
    AdvanceRequest request = AdvanceRequest.newBuilder().setDuration(Times.message(by)).build();
    ClockServiceGrpc.newBlockingStub(channel).advance(request);
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }
}
