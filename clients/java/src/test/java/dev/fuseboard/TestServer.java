package dev.fuseboard;

import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** A server of a test's own, which keeps nothing, on a free port of the loopback. FUSEBOARD_BIN names the binary. */
public final class TestServer implements AutoCloseable {
  /** Far beyond what anything in tests takes; a machine may be busy. */
  public static final Duration PATIENCE = Duration.ofSeconds(30);

  private final String address;
  private final Process process;

  private TestServer(String address, Process process) {
    this.address = address;
    this.process = process;
  }

  /** With these flags besides the usual ones. */
  public static TestServer start(String... flags) throws IOException, InterruptedException {
    return startAt("127.0.0.1:" + freePort(), flags);
  }

  private static int freePort() throws IOException {
    try (ServerSocket free = new ServerSocket()) {
      free.bind(new InetSocketAddress("127.0.0.1", 0));
      return free.getLocalPort();
    }
  }

  /** For a server that comes back. */
  public static TestServer startAt(String address, String... flags) throws IOException, InterruptedException {
    String binary = System.getenv("FUSEBOARD_BIN");
    if (binary == null || !new File(binary).canExecute()) {
      throw new IllegalStateException("FUSEBOARD_BIN is to name the fuseboard binary, and is " + binary);
    }
    List<String> command =
        new ArrayList<>(List.of(binary, "serve", "--ephemeral", "--http-address", "off", "--address", address));
    command.addAll(List.of(flags));
    ProcessBuilder builder = new ProcessBuilder(command);
    // What the developer's shell sets must not change what is tested.
    builder.environment().keySet().removeIf(name -> name.startsWith("FUSEBOARD_"));
    builder.redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD);
    TestServer server = new TestServer(address, builder.start());
    eventually("the server listens", server::isListening);
    return server;
  }

  private boolean isListening() {
    if (!process.isAlive()) {
      throw new IllegalStateException("the server ended at its start with " + process.exitValue());
    }
    try (Socket socket = new Socket()) {
      socket.connect(new InetSocketAddress("127.0.0.1", Integer.parseInt(address.split(":")[1])), 1_000);
      return true;
    } catch (IOException notYet) {
      return false;
    }
  }

  /** {@code host:port}. */
  public String address() {
    return address;
  }

  /** Options of a client of its own, with a patience that a busy machine does not exhaust. */
  public FuseboardClient.Builder client() {
    return FuseboardClient.builder()
        .address(address)
        .caller("test/1")
        .acquireTimeout(Duration.ofSeconds(5))
        .reportTimeout(Duration.ofSeconds(5));
  }

  /** Kills it and waits until it is gone. */
  @Override
  public void close() {
    process.destroyForcibly();
    try {
      process.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Waits until it is so. */
  public static void eventually(String what, BooleanSupplier isSo) throws InterruptedException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (!isSo.getAsBoolean()) {
      if (System.nanoTime() - end > 0) {
        throw new AssertionError("never: " + what);
      }
      Thread.sleep(5);
    }
  }
}
