/** What the environment says. The breakers' server is FUSEBOARD_ADDRESS, which the client reads itself. */
const { env } = process;

export const PORT = Number(env.PORT ?? 8000);
export const DATABASE_URL = env.DATABASE_URL ?? "postgres://shop:shop@127.0.0.1:5432/shop";
export const REDIS_URL = env.REDIS_URL ?? "redis://127.0.0.1:6379/0";
/** Any URL that answers JSON. */
export const EXTERNAL_API_URL = env.EXTERNAL_API_URL ?? "http://127.0.0.1:8081/rates";
/** How often the scheduled job runs. 0: never. */
export const REFRESH_SECONDS = Number(env.REFRESH_SECONDS ?? 30);
/** Longest wait for any dependency. A dead one that swallows packets is a failure after this. */
export const CALL_TIMEOUT_MS = 2_000;
