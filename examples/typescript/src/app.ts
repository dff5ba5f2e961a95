/** The routes. */
import express, { type NextFunction, type Request, type Response } from "express";
import { ServerError } from "fuseboard";
import { rejectionHandler } from "fuseboard/express";
import { register } from "prom-client";
import { health, metrics } from "./operations.js";
import { NotFoundError, type Shop } from "./shop.js";

export function appOf(shop: Shop) {
  const { breakers } = shop;
  const app = express();

  // From the database, else from the cache.
  app.get("/products/:id", async (request, response) => {
    const id = Number(request.params.id);
    if (!Number.isInteger(id) || Math.abs(id) > 2 ** 31 - 1) {
      throw new NotFoundError(`there is no product ${request.params.id}`);
    }
    response.json(await shop.product(id));
  });

  // From the external API, else what was cached.
  app.get("/rates", async (_request, response) => {
    response.json(await shop.rates());
  });

  // The external API under the breaker `fast`, `slow`, `sensitive`, `tolerant` or `adaptive`.
  app.get("/partners/:name", async (request, response) => {
    response.json(await shop.partner(request.params.name));
  });

  app.get("/health", async (_request, response) => {
    const report = await health(breakers);
    response.status(report.status === "healthy" ? 200 : 503).json(report);
  });

  // Closes a breaker by hand, for all replicas. In earnest, put your own login before it.
  app.post("/admin/breaker/:name/reset", async (request, response) => {
    const { name } = request.params;
    const breaker = breakers.byName.get(name);
    if (!breaker) {
      throw new NotFoundError(`there is no breaker ${name}`);
    }
    await breaker.reset("by hand", "admin");
    response.json({ reset: name });
  });

  app.get("/metrics", async (_request, response) => {
    response.type(register.contentType).send(await metrics(breakers));
  });

  // A breaker is open and nothing could stand in: 503 with a Retry-After.
  app.use(rejectionHandler());
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const status = error instanceof NotFoundError ? 404 : error instanceof ServerError ? 503 : 502;
    response.status(status).json({ error: error instanceof Error ? error.message : String(error) });
  });
  return app;
}
