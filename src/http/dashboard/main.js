// Which page is shown, and whether it is live.

import { Breakers, api } from "./api.js";
import { board } from "./board.js";
import { breaker } from "./breaker.js";
import { span, millis } from "./dom.js";
import { enter } from "./session.js";

const SERVER_POLL_MS = 10000;

const main = document.getElementById("main");
const live = document.getElementById("live");
const notice = document.getElementById("notice");
const server = document.getElementById("server");

const breakers = new Breakers((isLive) => {
  live.textContent = isLive ? "Live" : "Connection lost, trying again…";
  live.classList.toggle("on", isLive);
  live.classList.toggle("off", !isLive);
});

let leave = () => {};

/** The name in a path, or nothing where it is not one. */
function nameIn(path) {
  const encoded = path.match(/^#\/breakers\/(.+)$/)?.[1];
  try {
    return encoded && decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

function show() {
  leave();
  const name = nameIn(location.hash);
  leave = name ? breaker(main, breakers, name) : board(main, breakers);
  main.focus();
  scrollTo(0, 0);
}

/** What an operator has to know of the server itself. */
async function look() {
  try {
    const info = await api.server();
    const used = (info.limits ?? []).filter(({ max, used = 0 }) => Number(max) > 0 && Number(used) / Number(max) > 0.9);
    const troubles = [
      info.storeProblem && `The store is failing, nothing can be recorded: ${info.storeProblem}`,
      info.storeDamage && `Stored state was damaged at the start: ${info.storeDamage}`,
      // An event log is meant to be full.
      ...used
        .filter(({ name }) => name !== "event_log_events")
        .map(({ name, max }) => `${name} is nearly reached (${max}).`),
    ].filter(Boolean);
    notice.textContent = troubles.join(" ");
    notice.hidden = troubles.length === 0;
    notice.classList.toggle("bad", Boolean(info.storeProblem || info.storeDamage));
    server.textContent = `Fuseboard ${info.version} · store: ${info.store} · up for ${span(millis(info.uptime))}`;
  } catch {
    server.textContent = "";
  }
}

// Skipping to the content is no other page.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
if (await enter(main, document.getElementById("who"))) {
  // A token that is revoked, or has expired, while somebody looks.
  addEventListener("signed-out", () => location.reload(), { once: true });
  addEventListener("hashchange", show);
  breakers.start();
  breakers.refresh();
  show();
  look();
  setInterval(look, SERVER_POLL_MS);
} else {
  live.textContent = "";
}
