/** What a client tells about itself, for logs and metrics. */
export interface Observer {
  /** Something that somebody should know: the server is silent, a report was refused, a listener has thrown. */
  warn?(message: string, error?: unknown): void;
  /** A decision was made. Called for each call: keep it short. */
  decided?(breaker: string, permitted: boolean, source: string): void;
  /** A call's outcome was taken. */
  reported?(breaker: string, outcome: string, durationMs: number): void;
}
