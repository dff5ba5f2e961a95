package dev.fuseboard;

import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContext;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import javax.net.ssl.SSLException;

/**
 * TLS to the server.
 *
 * @param roots PEM of the authorities to trust; null: the machine's
 * @param certificate PEM of the chain by which this client shows who it is, or null
 * @param key PEM of that certificate's key (PKCS 8), or null
 * @param serverName the name that the server's certificate is to carry; null: the address's
 */
public record Tls(String roots, String certificate, String key, String serverName) {
  /** The machine's roots, and no certificate of one's own. */
  public static Tls defaults() {
    return new Tls(null, null, null, null);
  }

  SslContext context() {
    SslContextBuilder builder = GrpcSslContexts.forClient();
    try {
      if (roots != null) {
        builder.trustManager(stream(roots));
      }
      if (certificate != null) {
        builder.keyManager(stream(certificate), stream(key));
      }
      return builder.build();
    } catch (SSLException | IllegalArgumentException error) {
      throw new IllegalArgumentException("tls: " + error.getMessage(), error);
    }
  }

  private static ByteArrayInputStream stream(String pem) {
    return new ByteArrayInputStream(pem.getBytes(StandardCharsets.US_ASCII));
  }
}
