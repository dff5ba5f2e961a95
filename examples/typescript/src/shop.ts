/** The shop's own work: each answer has a fallback, and says where it came from. */
import type { Breakers } from "./breakers.js";
import { type Cache, type Database, fetchRates, type Product } from "./dependencies.js";

/** Nothing by that name. */
export class NotFoundError extends Error {}

export interface Answer<T> {
  source: "database" | "external-api" | "cache";
  data: T;
}

/** Products from the database or the cache, rates from the external API or the cache. */
export class Shop {
  constructor(
    readonly breakers: Breakers,
    private readonly database: Database,
    private readonly cache: Cache,
  ) {}

  /** The product, as fresh as can be had now. */
  async product(id: number): Promise<Answer<Product>> {
    const key = `product:${id}`;
    let product: Product | undefined;
    try {
      product = await this.breakers.database.execute(() => this.database.product(id));
    } catch (error) {
      return this.#remembered<Product>(key, error);
    }
    if (!product) {
      throw new NotFoundError(`there is no product ${id}`);
    }
    await this.#remember(key, product);
    return { source: "database", data: product };
  }

  /** The price in cents, from the database: its user is told by a guard of its own. */
  async price(id: number): Promise<number | undefined> {
    return (await this.database.product(id))?.price_cents;
  }

  /** The rates, as fresh as can be had now. */
  async rates(): Promise<Answer<unknown>> {
    try {
      const data = await this.breakers.externalApi.execute(({ signal }) => fetchRates(signal));
      await this.rememberRates(data);
      return { source: "external-api", data };
    } catch (error) {
      return this.#remembered("rates", error);
    }
  }

  /** So that they can stand in. */
  rememberRates(rates: unknown): Promise<void> {
    return this.#remember("rates", rates);
  }

  /** The external API under one of the presets, or under the breaker that tightens itself. */
  async partner(name: string): Promise<unknown> {
    const partner = this.breakers.partners.get(name);
    if (!partner) {
      throw new NotFoundError(
        `there is no partner ${name}: say one of ${[...this.breakers.partners.keys()].join(", ")}`,
      );
    }
    return partner.execute(({ signal }) => fetchRates(signal));
  }

  /** What the cache holds; the first error where it holds nothing or fails itself. */
  async #remembered<T>(key: string, error: unknown): Promise<Answer<T>> {
    const data = await this.breakers.cache.execute(() => this.cache.get<T>(key), { fallback: () => undefined });
    if (data === undefined) {
      throw error;
    }
    return { source: "cache", data };
  }

  /** Keeps what may be needed later. A cache that fails spoils no answer. */
  async #remember(key: string, value: unknown): Promise<void> {
    await this.breakers.cache.execute(() => this.cache.put(key, value), { fallback: () => {} });
  }
}
