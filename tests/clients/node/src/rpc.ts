// gRPC calls as promises and async iterators, each bounded by a deadline.

import type { CallOptions, ClientDuplexStream, ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { Metadata } from "@grpc/grpc-js";

/** How long a single answer may take. The server's time stands still meanwhile. */
const ANSWER_MS = 10_000;
/** How long a stream may live. */
const STREAM_MS = 30_000;

type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

/** One call: `await ask(client, client.method, request)`. */
export function ask<Client, Request, Response>(
  client: Client,
  method: Unary<Request, Response>,
  request: Request,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + ANSWER_MS };
    method.call(client, request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

/** The deadline of a stream. */
export function streamOptions(): Partial<CallOptions> {
  return { deadline: Date.now() + STREAM_MS };
}

/** Reads a stream one message at a time. */
export class Reader<Response> {
  private readonly messages: AsyncIterator<Response>;

  constructor(readonly stream: ClientReadableStream<Response> | ClientDuplexStream<never, Response>) {
    // After `cancel` nobody may be reading; the error is then nobody's.
    stream.on("error", () => {});
    this.messages = stream[Symbol.asyncIterator]();
  }

  /** The next message, or undefined at the stream's good end. */
  async next(): Promise<Response | undefined> {
    const { done, value } = await this.messages.next();
    return done ? undefined : value;
  }

  cancel(): void {
    this.stream.cancel();
  }
}
