package dev.fuseboard;

/** A listener that is called; closing it ends that. Closing twice does nothing. */
public interface Subscription extends AutoCloseable {
  @Override
  void close();
}
