/** Fastify: routes behind a breaker, and rejections as 503. */
import type { Breaker } from "./breaker.js";
import { RejectedError } from "./errors.js";
import { rejection } from "./express.js";
import type { Permit } from "./permit.js";

/** What of a Fastify instance, request and reply is needed here. */
interface Reply {
  statusCode: number;
  code(status: number): Reply;
  header(name: string, value: string): Reply;
  type(type: string): Reply;
  send(body: unknown): unknown;
}
interface Instance {
  setErrorHandler(handler: (error: Error, request: unknown, reply: Reply) => unknown): unknown;
  addHook(name: "onRequest", hook: (request: object, reply: Reply) => Promise<unknown>): unknown;
  addHook(name: "onResponse", hook: (request: object, reply: Reply) => Promise<void>): unknown;
  addHook(name: "onRequestAbort", hook: (request: object) => Promise<void>): unknown;
}

const refuse = (reply: Reply, error: RejectedError): unknown => {
  const { retryAfter, body } = rejection(error);
  return reply.code(503).header("Retry-After", retryAfter).type("application/json").send(body);
};

/** Answers a `RejectedError` from any route with a 503 and a `Retry-After` in seconds. Other errors are Fastify's. */
export function answerRejections(app: Instance): void {
  app.setErrorHandler((error, _request, reply) => {
    if (error instanceof RejectedError) {
      return refuse(reply, error);
    }
    throw error;
  });
}

/**
 * Guards all routes of an instance: rejected requests are answered 503 with a `Retry-After`, and what a route answers
 * is the outcome: 5xx a failure, anything else a success, a user who went away `cancelled`.
 */
export function guardRoutes(app: Instance, breaker: Breaker): void {
  const permits = new WeakMap<object, Permit>();
  app.addHook("onRequest", async (request, reply) => {
    try {
      permits.set(request, await breaker.acquire());
      return undefined;
    } catch (error) {
      if (error instanceof RejectedError) {
        return refuse(reply, error);
      }
      throw error;
    }
  });
  app.addHook("onRequestAbort", async (request) => {
    await permits.get(request)?.cancelled();
  });
  app.addHook("onResponse", async (request, reply) => {
    const isFailure = reply.statusCode >= 500;
    await permits.get(request)?.report(isFailure ? "failure" : "success", {
      ...(isFailure && { errorClass: `http_${reply.statusCode}` }),
    });
  });
}
