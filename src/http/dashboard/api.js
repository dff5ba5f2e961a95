// The JSON API, and what follows from the event stream: a map of all breakers that is always as the server last told.

import { millis } from "./dom.js";

/** What the API refuses. */
export class Refused extends Error {
  constructor(told) {
    super(told.message);
    this.field = told.field;
    this.reason = told.reason;
  }
}

async function call(method, path, body) {
  const request = { method, headers: {} };
  if (method !== "GET") {
    request.headers["content-type"] = "application/json";
    request.body = JSON.stringify(body ?? {});
  }
  const response = await fetch(path, request);
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) dispatchEvent(new Event("signed-out"));
  if (!response.ok) {
    throw new Refused(answer.error ?? { message: `the server answered ${response.status}` });
  }
  return answer;
}

/** Breakers in a page of the list. */
const PAGE = 1000;
/** How often the list is read, for each of its pages. */
const REFRESH_MS = 4000;

const of = (name) => `/api/v1/breakers/${encodeURIComponent(name)}`;

export const api = {
  identity: () => call("GET", "/api/v1/identity"),
  login: (token) => call("POST", "/api/v1/login", { token }),
  logout: () => call("POST", "/api/v1/logout"),
  server: () => call("GET", "/api/v1/server"),
  list: (page) => call("GET", `/api/v1/breakers?${new URLSearchParams({ pageSize: String(PAGE), pageToken: page })}`),
  breaker: (name) => call("GET", of(name)),
  events: (name, page = "") =>
    call(
      "GET",
      `/api/v1/events?${new URLSearchParams({ breaker: name, newestFirst: "true", pageSize: "50", pageToken: page })}`,
    ),
  reset: (name, said) => call("POST", `${of(name)}/reset`, said),
  probeNow: (name, said) => call("POST", `${of(name)}/probe`, said),
  setOverride: (name, said) => call("PUT", `${of(name)}/override`, said),
  clearOverride: (name, said) => call("DELETE", `${of(name)}/override`, said),
};

/** All breakers, followed live. Listeners are told of changes, at most once a frame. */
export class Breakers {
  all = new Map();
  /** When each status was received: what is left of a state counts from there. */
  received = new WeakMap();
  #listeners = new Set();
  #events = new Set();
  #pending = false;
  #fresh = null;
  #source = null;
  /** Deleted since the list was last asked for. */
  #deleted = new Set();
  #onLive;

  constructor(onLive) {
    this.#onLive = onLive;
  }

  /** Connects, and goes on connecting for ever. */
  start(token = "") {
    this.#source?.close();
    // A browser sends the last token by itself when it connects again; a new page begins with a snapshot.
    const query = token ? `?${new URLSearchParams({ resumeToken: token })}` : "";
    const source = new EventSource(`/api/v1/events/stream${query}`);
    this.#source = source;
    source.onopen = () => this.#onLive(true);
    source.onerror = () => {
      this.#onLive(false);
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => this.start(), 2000 + Math.random() * 2000);
      }
    };
    const on = (name, act) => source.addEventListener(name, (message) => act(JSON.parse(message.data)));
    on("resync", () => {
      this.#fresh = null;
    });
    on("snapshot", (part) => this.#snapshot(part));
    on("event", (event) => this.#event(event));
    on("progress", () => this.#onLive(true));
    on("goodbye", () => this.#onLive(false));
  }

  #snapshot({ breakers = [], deleted = [], complete = false }) {
    this.#fresh ??= new Map();
    for (const status of breakers) {
      this.received.set(status, performance.now());
      this.#fresh.set(status.breaker, status);
    }
    for (const name of deleted) this.#fresh.delete(name);
    if (complete) {
      this.all = this.#fresh;
      this.#fresh = null;
    }
    this.#changed();
  }

  #event(event) {
    if (event.kind === "EVENT_KIND_DELETED") {
      this.all.delete(event.breaker);
      this.#deleted.add(event.breaker);
    } else {
      this.received.set(event.status, performance.now());
      this.all.set(event.breaker, event.status);
    }
    for (const listener of this.#events) listener(event);
    this.#changed();
  }

  /**
   * Reads the list now and then, for ever: a call that makes a breaker is no event, and nor is a failure that moves
   * nothing.
   */
  async refresh() {
    if (!document.hidden) await this.#list().catch(() => {});
    setTimeout(() => this.refresh(), REFRESH_MS * Math.max(1, Math.ceil(this.all.size / PAGE)));
  }

  async #list() {
    const began = performance.now();
    const listed = new Map();
    this.#deleted.clear();
    let page = "";
    do {
      const { breakers = [], nextPageToken = "" } = await api.list(page);
      for (const status of breakers) {
        this.received.set(status, performance.now());
        listed.set(status.breaker, status);
      }
      page = nextPageToken;
    } while (page);
    // What the stream has told meanwhile is newer.
    for (const name of this.#deleted) listed.delete(name);
    for (const [name, status] of this.all) {
      if (this.received.get(status) >= began) listed.set(name, status);
    }
    this.all = listed;
    this.#changed();
  }

  /** Milliseconds that a state has left, if it has a deadline. */
  left(status) {
    const remaining = millis(status.stateRemaining);
    if (remaining === undefined) return undefined;
    return Math.max(0, remaining - (performance.now() - (this.received.get(status) ?? performance.now())));
  }

  #changed() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      for (const listener of this.#listeners) listener();
    });
  }

  /** Tells of changes of the map, and of events, until the returned function is called. */
  follow(onChange, onEvent) {
    this.#listeners.add(onChange);
    if (onEvent) this.#events.add(onEvent);
    return () => {
      this.#listeners.delete(onChange);
      this.#events.delete(onEvent);
    };
  }
}
