/** Starts the shop, and stops it cleanly. Nothing that is down keeps it from starting. */
import { createServer } from "node:http";
import { Client } from "fuseboard";
import { appOf } from "./app.js";
import { breakersOf } from "./breakers.js";
import { Cache, Database } from "./dependencies.js";
import { refreshRates } from "./jobs.js";
import { servePrices } from "./prices.js";
import { PORT, REFRESH_SECONDS } from "./settings.js";
import { Shop } from "./shop.js";

const client = new Client();
// Whichever replica caused it, all of them hear it.
client.on("open", ({ breaker, reason, failures }) =>
  console.warn(`breaker ${breaker} is open: ${reason}, after ${failures} failures`),
);
client.on("closed", ({ breaker, reason }) => console.log(`breaker ${breaker} is closed: ${reason}`));
client.on("reset", ({ breaker }) => console.log(`breaker ${breaker} is closed: by hand`));

const database = new Database();
const cache = new Cache();
const shop = new Shop(breakersOf(client), database, cache);
if (!(await client.ready(2_000))) {
  console.warn("the breakers' server does not answer: breakers of this process stand in");
}

const job = REFRESH_SECONDS > 0 ? refreshRates(shop, REFRESH_SECONDS) : undefined;
const server = createServer(appOf(shop));
const sockets = servePrices(server, shop);
server.listen(PORT, "127.0.0.1", () => console.log(`the shop is open on http://127.0.0.1:${PORT}`));

const stop = async () => {
  job?.stop();
  for (const socket of sockets.clients) {
    socket.terminate();
  }
  server.close();
  server.closeAllConnections();
  await client.close();
  cache.close();
  await database.close();
};
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
