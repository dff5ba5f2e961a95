/** What the shop depends on: a database, a cache and an API of others. None of them knows of breakers. */
import { Redis } from "ioredis";
import pg from "pg";
import { Counter } from "prom-client";
import { CALL_TIMEOUT_MS, DATABASE_URL, EXTERNAL_API_URL, REDIS_URL } from "./settings.js";

const calls = new Counter({
  name: "shop_calls_total",
  help: "Calls that were made, by dependency: those that a breaker rejects are none.",
  labelNames: ["dependency"],
});

export interface Product {
  id: number;
  name: string;
  price_cents: number;
}

/** PostgreSQL. Connects with the first query, so the shop starts without it. */
export class Database {
  readonly #pool = new pg.Pool({
    connectionString: DATABASE_URL,
    max: 10,
    connectionTimeoutMillis: CALL_TIMEOUT_MS,
    query_timeout: CALL_TIMEOUT_MS,
  });

  constructor() {
    // A connection that breaks while nobody uses it would end the process. The next query tells the breaker.
    this.#pool.on("error", (error) => console.warn("a connection to the database has ended:", error.message));
  }

  /** The product, or undefined where there is none with this id. */
  async product(id: number): Promise<Product | undefined> {
    calls.inc({ dependency: "database" });
    const { rows } = await this.#pool.query<Product>("SELECT id, name, price_cents FROM products WHERE id = $1", [id]);
    return rows[0];
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

/** Redis, holding the last good answers as JSON. */
export class Cache {
  readonly #redis = new Redis(REDIS_URL, {
    connectTimeout: CALL_TIMEOUT_MS,
    commandTimeout: CALL_TIMEOUT_MS,
    maxRetriesPerRequest: 0, // The breaker decides whether to try again.
    retryStrategy: (attempt) => Math.min(attempt * 100, 1_000),
  });

  constructor() {
    this.#redis.on("error", (error) => console.warn("the connection to the cache has failed:", error.message));
  }

  /** What was put there, or undefined. */
  async get<T>(key: string): Promise<T | undefined> {
    calls.inc({ dependency: "cache" });
    const held = await this.#redis.get(key);
    return held === null ? undefined : (JSON.parse(held) as T);
  }

  /** Keeps the value for an hour. */
  async put(key: string, value: unknown): Promise<void> {
    calls.inc({ dependency: "cache" });
    await this.#redis.set(key, JSON.stringify(value), "EX", 3_600);
  }

  close(): void {
    this.#redis.disconnect();
  }
}

/** Somebody else's HTTP API. An answer of 4xx or 5xx is an error. */
export async function fetchRates(signal: AbortSignal): Promise<unknown> {
  calls.inc({ dependency: "external-api" });
  const answer = await fetch(EXTERNAL_API_URL, { signal });
  if (!answer.ok) {
    await answer.body?.cancel();
    throw new Error(`the external API answered ${answer.status}`);
  }
  return answer.json();
}
