/** A WebSocket: send a product's number, get its price. An old price would be a wrong one, so nothing stands in. */
import type { Server } from "node:http";
import { guardedMessages } from "fuseboard/websocket";
import { WebSocketServer } from "ws";
import type { Shop } from "./shop.js";

/** Answers messages to `/prices`. One that the breaker rejects is answered so, and the socket stays open. */
export function servePrices(server: Server, shop: Shop): WebSocketServer {
  const sockets = new WebSocketServer({ server, path: "/prices" });
  sockets.on("connection", (socket) => {
    const say = (message: object) => socket.send(JSON.stringify(message));
    const answer = guardedMessages(
      shop.breakers.database,
      socket,
      async (id: number) => {
        const price = await shop.price(id);
        say(price === undefined ? { error: `there is no product ${id}` } : { price_cents: price });
      },
      { onFailed: () => say({ error: "failed" }) },
    );
    socket.on("error", (error) => console.warn("a socket has failed:", error.message));
    socket.on("message", (message) => {
      const text = message.toString();
      // What the user got wrong is none of the database's failures.
      return /^\d{1,9}$/.test(text) ? void answer(Number(text)) : say({ error: "send a product's number" });
    });
  });
  return sockets;
}
