/** The wrappers for frameworks, with the frameworks, and the fake. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server as HttpServer } from "node:http";
import { test } from "node:test";
import { Cron } from "croner";
import express from "express";
import fastify from "fastify";
import WebSocket, { WebSocketServer } from "ws";
import { guardRoute, rejectionHandler } from "../src/express.js";
import { answerRejections, guardRoutes } from "../src/fastify.js";
import { guardedFetch, retryAfter } from "../src/fetch.js";
import { RejectedError } from "../src/index.js";
import { scheduled } from "../src/jobs.js";
import { FakeClient } from "../src/testing.js";
import { guardedMessages } from "../src/websocket.js";
import { until } from "./server.js";

async function listening(server: HttpServer): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

test("fetch: 5xx, 429 and broken ways are failures, everything else is a success", async () => {
  const upstream = createServer((request, response) => {
    response.writeHead(Number(request.url?.slice(1)), { "retry-after": "7" }).end();
  });
  const url = await listening(upstream);
  const client = new FakeClient();
  const guarded = guardedFetch(client);
  for (const code of [200, 404, 503, 429]) {
    assert.equal((await guarded(`${url}/${code}`)).status, code);
  }
  const key = `http/${new URL(url).host}`;
  assert.deepEqual(client.outcomes(key), ["success", "success", "failure", "failure"]);
  upstream.close();
  upstream.closeAllConnections();
  await assert.rejects(guarded(`${url}/200`), { message: "fetch failed" });
  assert.equal(client.outcomes(key).at(-1), "failure");
  client.setOpen(key);
  await assert.rejects(guarded(new Request(`${url}/200`)), RejectedError);
});

test("a retry-after is seconds or a date or nothing", () => {
  assert.equal(retryAfter("7", 0), 7_000);
  assert.equal(retryAfter("Thu, 01 Jan 1970 00:00:09 GMT", 4_000), 5_000);
  assert.equal(retryAfter("soon", 0), 0);
  assert.equal(retryAfter(null, 0), 0);
});

test("express: a guarded route, and rejections anywhere, are answered 503 with a Retry-After", async () => {
  const client = new FakeClient();
  const app = express();
  app.get("/guarded/:code", guardRoute(client.breaker("route")), (request, response) => {
    response.status(Number(request.params.code)).end();
  });
  app.get("/inside", async () => {
    await client.breaker("db").execute(() => 1);
  });
  app.use(rejectionHandler());
  const server = createServer(app);
  const url = await listening(server);
  assert.equal((await fetch(`${url}/guarded/200`)).status, 200);
  assert.equal((await fetch(`${url}/guarded/500`)).status, 500);
  await until(() => client.outcomes("route").join() === "success,failure");
  client.setOpen("route", 1_500);
  client.setOpen("db", 1_500);
  for (const path of ["/guarded/200", "/inside"]) {
    const answer = await fetch(url + path);
    assert.equal(answer.status, 503);
    assert.equal(answer.headers.get("retry-after"), "2");
    assert.equal(((await answer.json()) as { reason: string }).reason, "open");
  }
  server.close();
  server.closeAllConnections();
});

test("fastify: guarded routes, and rejections anywhere, are answered 503 with a Retry-After", async () => {
  const client = new FakeClient();
  const app = fastify();
  answerRejections(app);
  app.get("/inside", () => client.breaker("db").execute(() => 1));
  app.register(async (guarded) => {
    guardRoutes(guarded, client.breaker("route"));
    guarded.get("/guarded/:code", (request, reply) => {
      reply.code(Number((request.params as { code: string }).code)).send();
    });
  });
  assert.equal((await app.inject("/guarded/200")).statusCode, 200);
  assert.equal((await app.inject("/guarded/500")).statusCode, 500);
  await until(() => client.outcomes("route").join() === "success,failure");
  client.setOpen("route", 1_500);
  client.setOpen("db", 1_500);
  for (const path of ["/guarded/200", "/inside"]) {
    const answer = await app.inject(path);
    assert.equal(answer.statusCode, 503);
    assert.equal(answer.headers["retry-after"], "2");
  }
  await app.close();
});

test("a scheduled job is retried when it fails and left out when it is rejected", async () => {
  const client = new FakeClient();
  const breaker = client.breaker("job");
  let runs = 0;
  const skipped: string[] = [];
  const job = scheduled(
    breaker,
    () => {
      runs += 1;
      throw new Error("failed");
    },
    { maxRetries: 2, retryDelayMs: 1, onFailed: () => {}, onSkipped: ({ reason }) => skipped.push(reason) },
  );
  const cron = new Cron("0 0 1 1 *", { paused: true }, job);
  await cron.trigger();
  assert.equal(runs, 3);
  client.setOpen("job");
  await cron.trigger();
  assert.deepEqual([runs, skipped], [3, ["open"]]);
  await assert.rejects(
    scheduled(breaker, job, { enableCircuitBreaker: false })().then(() => Promise.reject(new Error("ran"))),
    {
      message: "ran",
    },
  );
  cron.stop();
});

test("a websocket's messages are guarded, and a rejected one is answered", async () => {
  const client = new FakeClient();
  const breaker = client.breaker("messages");
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket) => {
    socket.on(
      "message",
      guardedMessages(breaker, socket, (data) => socket.send(`heard ${data}`)),
    );
  });
  await once(server, "listening");
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as { port: number }).port}`);
  await once(socket, "open");
  const answered = once(socket, "message");
  socket.send("hello");
  assert.equal(String((await answered)[0]), "heard hello");
  client.setOpen("messages");
  const refused = once(socket, "message");
  socket.send("hello");
  assert.equal(JSON.parse(String((await refused)[0])).reason, "open");
  assert.deepEqual(client.outcomes("messages"), ["success"]);
  socket.close();
  server.close();
});

test("the README's snippets run", async () => {
  const readme = readFileSync("README.md", "utf8");
  const snippets = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, snippet]) => snippet);
  assert.ok(snippets.length >= 6);
  // They are compiled with the tests, as examples/readme.ts; here it is seen that they are the same.
  const example = readFileSync("examples/readme.ts", "utf8").replace(/\s+/g, " ");
  for (const snippet of snippets) {
    assert.ok(example.includes(snippet!.replace(/\s+/g, " ").trim()), `not in examples/readme.ts: ${snippet}`);
  }
});
