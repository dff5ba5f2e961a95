package dev.fuseboard;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.fuseboard.v1.BreakerServiceGrpc;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.TrustManagerFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** TLS and the token on the wire. */
class TlsTest {
  private static final char[] PASSWORD = "password".toCharArray();

  @TempDir Path folder;

  /** A certificate that vouches for itself, made by the JDK's keytool. */
  private KeyStore selfSigned(String name) throws Exception {
    Path file = folder.resolve(name + ".p12");
    Process keytool =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair", "-alias", "it", "-keyalg", "EC", "-validity", "1", "-storetype", "PKCS12",
                "-dname", "CN=" + name, "-ext", "san=dns:" + name, "-ext", "bc=ca:true",
                "-storepass", new String(PASSWORD), "-keystore", file.toString())
            .redirectErrorStream(true)
            .start();
    String said = new String(keytool.getInputStream().readAllBytes());
    assertEquals(0, keytool.waitFor(), said);
    KeyStore store = KeyStore.getInstance("PKCS12");
    try (InputStream in = Files.newInputStream(file)) {
      store.load(in, PASSWORD);
    }
    return store;
  }

  private static String pem(String kind, byte[] der) {
    String body = Base64.getMimeEncoder(64, "\n".getBytes()).encodeToString(der);
    return "-----BEGIN " + kind + "-----\n" + body + "\n-----END " + kind + "-----\n";
  }

  private static String certificate(KeyStore store) throws Exception {
    return pem("CERTIFICATE", store.getCertificate("it").getEncoded());
  }

  /** Ends TLS before a server, and asks clients for a certificate. It gives the address. */
  private static SSLServerSocket terminate(TestServer server, KeyStore own, KeyStore clients) throws Exception {
    KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(own, PASSWORD);
    KeyStore roots = KeyStore.getInstance("PKCS12");
    roots.load(null, null);
    roots.setCertificateEntry("client", clients.getCertificate("it"));
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(roots);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
    SSLServerSocket listener =
        (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 50, InetAddress.getLoopbackAddress());
    SSLParameters parameters = listener.getSSLParameters();
    parameters.setApplicationProtocols(new String[] {"h2"});
    parameters.setNeedClientAuth(true);
    listener.setSSLParameters(parameters);
    start(() -> {
      while (true) {
        Socket down = listener.accept();
        Socket up = new Socket("127.0.0.1", Integer.parseInt(server.address().split(":")[1]));
        start(() -> pump(down, up));
        start(() -> pump(up, down));
      }
    });
    return listener;
  }

  private interface Work {
    void run() throws IOException;
  }

  private static void start(Work work) {
    Thread thread = new Thread(() -> {
      try {
        work.run();
      } catch (IOException ended) {
        // A connection that ends is what some of these tests want.
      }
    });
    thread.setDaemon(true);
    thread.start();
  }

  private static void pump(Socket from, Socket to) throws IOException {
    try (from; to; InputStream in = from.getInputStream(); OutputStream out = to.getOutputStream()) {
      byte[] bytes = new byte[16_384];
      for (int count = in.read(bytes); count >= 0; count = in.read(bytes)) {
        out.write(bytes, 0, count);
        out.flush();
      }
    }
  }

  private static Source ask(TestServer server, int port, Tls tls) throws Exception {
    FuseboardClient.Builder options = server.client().address("https://127.0.0.1:" + port).tls(tls);
    try (FuseboardClient client = options.build()) {
      return client.breaker("db").acquire().source();
    }
  }

  @Test
  void aClientShowsItsCertificateAndTrustsTheNamedServerOnly() throws Exception {
    KeyStore own = selfSigned("fuseboard.test");
    KeyStore client = selfSigned("web");
    String key = pem("PRIVATE KEY", client.getKey("it", PASSWORD).getEncoded());
    try (TestServer server = TestServer.start(); SSLServerSocket listener = terminate(server, own, client)) {
      int port = listener.getLocalPort();
      String roots = certificate(own);
      String shown = certificate(client);
      assertEquals(Source.SERVER, ask(server, port, new Tls(roots, shown, key, "fuseboard.test")));
      assertEquals(Source.LOCAL, ask(server, port, new Tls(shown, shown, key, "fuseboard.test")), "another authority");
      assertEquals(Source.LOCAL, ask(server, port, new Tls(roots, shown, key, "elsewhere.test")), "another name");
      assertEquals(Source.LOCAL, ask(server, port, new Tls(roots, null, null, "fuseboard.test")), "no certificate");
    }
  }

  @Test
  void theTokenGoesWithEachRequest() throws Exception {
    BlockingQueue<String> tokens = new LinkedBlockingQueue<>();
    ServerInterceptor seen = new ServerInterceptor() {
      @Override
      public <Q, R> ServerCall.Listener<Q> interceptCall(
          ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
        String token = headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER));
        tokens.add(call.getMethodDescriptor().getBareMethodName() + " " + token);
        return next.startCall(call, headers);
      }
    };
    Server server =
        NettyServerBuilder.forPort(0)
            .addService(new BreakerServiceGrpc.BreakerServiceImplBase() {})
            .intercept(seen)
            .build()
            .start();
    try (FuseboardClient client =
        FuseboardClient.builder().address("127.0.0.1:" + server.getPort()).token("secret").build()) {
      client.breaker("db");
      for (String method = ""; !method.startsWith("WatchEvents"); ) {
        method = tokens.poll(TestServer.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        assertEquals("Bearer secret", method.substring(method.indexOf(' ') + 1));
      }
    } finally {
      server.shutdownNow();
    }
  }
}
