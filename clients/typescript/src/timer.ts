/** A timer that does not keep the process alive. */
export class Timer {
  #handle: NodeJS.Timeout | undefined;

  get isSet(): boolean {
    return this.#handle !== undefined;
  }

  /** Calls once, later; what was set before is not called. */
  set(delayMs: number, call: () => void): void {
    this.clear();
    this.#handle = setTimeout(() => {
      this.#handle = undefined;
      call();
    }, delayMs);
    this.#handle.unref();
  }

  clear(): void {
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }
}

/** The promise's value, or `undefined` when that takes too long. The process may end meanwhile, unless `ref`. */
export function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    // Somebody waits for this one, so it may keep the process alive for so long.
    // What has come while the event loop was held up is read first.
    const timer = setTimeout(() => setImmediate(resolve, undefined), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
