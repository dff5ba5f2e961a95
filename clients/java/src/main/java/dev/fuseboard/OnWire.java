package dev.fuseboard;

/** A value that has a number in the protocol. */
interface OnWire {
  /** Its number in the protocol; at least 100 where it is never on the wire. */
  int wire();

  /** The one with this number; null for a number that this client does not know. */
  static <V extends OnWire> V find(V[] values, int wire) {
    for (V value : values) {
      if (value.wire() == wire) {
        return value;
      }
    }
    return null;
  }
}
