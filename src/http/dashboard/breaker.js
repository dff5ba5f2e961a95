// One breaker: where it stands and why, who calls it, what is in force, and what has happened.

import { actions, clear } from "./actions.js";
import { Refused, api } from "./api.js";
import { count, element, heldOf, instant, millis, pill, plain, shape, span, stateOf, words } from "./dom.js";

const POLL_MS = 2000;
/** Polls that the chart shows: four minutes. */
const POLLS = 120;
const TROUBLE = {
  opened: "open",
  would_have_opened: "open",
  caller_isolated: "open",
  half_opened: "half_open",
  caller_half_opened: "half_open",
  closed: "closed",
  reset: "closed",
  caller_restored: "closed",
};

const percent = (part, whole) => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "–");

function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== undefined && value !== false)
      .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

/** Calls since the last poll, by how they went. */
function between(before, after) {
  const grown = (name) => Math.max(0, Number(after[name] ?? 0) - Number(before[name] ?? 0));
  return { good: grown("successes"), bad: grown("failures"), refused: grown("rejected"), bypassed: grown("bypassed") };
}

const KINDS = [
  ["good", "succeeded"],
  ["bad", "failed"],
  ["refused", "refused"],
  ["bypassed", "let through by an override"],
];

function chart(samples) {
  const [width, height] = [600, 120];
  const sum = (sample) => KINDS.reduce((all, [kind]) => all + sample[kind], 0);
  const top = Math.max(1, ...samples.map(sum));
  const step = width / POLLS;
  const bars = samples.flatMap((sample, index) => {
    const x = width - (samples.length - index) * step;
    let y = height - 1;
    return KINDS.filter(([kind]) => sample[kind] > 0).map(([kind]) => {
      const tall = (sample[kind] / top) * (height - 2);
      y -= tall;
      return shape("rect", {
        class: kind,
        x: x.toFixed(1),
        y: y.toFixed(1),
        width: Math.max(1, step - 1).toFixed(1),
        height: tall.toFixed(1),
      });
    });
  });
  const told = KINDS.map(([kind, name]) => `${count(samples.reduce((all, sample) => all + sample[kind], 0))} ${name}`);
  return [
    element("p", { class: "axis" }, `at most ${count(top)} in ${POLL_MS / 1000} s`),
    shape(
      "svg",
      {
        class: "chart",
        viewBox: `0 0 ${width} ${height}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `The last ${span(samples.length * POLL_MS)}: ${told.join(", ")}`,
      },
      shape("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }),
      bars,
    ),
    element("p", { class: "axis" }, element("span", {}, `${span(POLLS * POLL_MS)} ago`), element("span", {}, "now")),
  ];
}

function rate(window) {
  const [failed, succeeded] = [Number(window.failures ?? 0), Number(window.successes ?? 0)];
  const all = failed + succeeded;
  const bad = all > 0 ? (100 * failed) / all : 0;
  return [
    shape(
      "svg",
      { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
      all > 0 && shape("rect", { class: "good", width: 100, height: 4 }),
      shape("rect", { class: "bad", width: bad.toFixed(2), height: 4 }),
    ),
    facts([
      ["Failure rate", `${percent(failed, all)} of ${count(all)} calls`],
      ["Timeouts", count(window.timeouts)],
      ["Slow", percent(Number(window.slow ?? 0), all)],
    ]),
  ];
}

function callers(list) {
  if (list.length === 0) return element("p", { class: "soft" }, "Nobody has called yet.");
  const cells = (tag, texts) =>
    texts.map((text, index) =>
      element(tag, { class: index > 1 ? "number" : undefined, scope: tag === "th" ? "col" : undefined }, text),
    );
  const rows = list.map(({ status, window = {}, ...totals }) =>
    element(
      "tr",
      {},
      cells("td", [
        status.caller || "(no name)",
        pill(
          stateOf(status) === "closed" ? "well" : stateOf(status) === "open" ? "isolated" : "probing",
          stateOf(status),
        ),
        percent(Number(window.failures ?? 0), Number(window.failures ?? 0) + Number(window.successes ?? 0)),
        count(totals.successes),
        count(totals.failures),
        count(totals.rejected),
      ]),
    ),
  );
  const head = element("tr", {}, cells("th", ["Caller", "State", "Failing now", "Succeeded", "Failed", "Refused"]));
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Callers" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, rows)),
  );
}

/** A message's fields as "a 1, b 2", for evidence and policies. */
function brief(value) {
  if (Array.isArray(value)) return value.map(brief).join("; ");
  if (value?.calls !== undefined)
    return `${value.caller || "(no name)"} ${count(value.failures)} of ${count(value.calls)} failed`;
  if (value && typeof value === "object") {
    return Object.entries(value)
      .map(([name, inner]) => `${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${brief(inner)}`)
      .join(", ");
  }
  return typeof value === "string"
    ? words(value.replace(/^(TRIP_RULE|EXPIRED_PERMIT|VOTERS|TRIP_ON)_/, "").replace(/^[A-Z_]+$/, (name) => name.toLowerCase()))
    : String(value);
}

/** Fields of a policy whose zero switches something off. */
const OFF_AT_ZERO = /Threshold$|Period$|^slowCall|^halfOpenMax/;

function policy({ policy: rules = {}, sources = [], version, differsFromDeclared }) {
  const pairs = Object.entries(rules).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`),
    Number.parseFloat(value) === 0 && OFF_AT_ZERO.test(name) ? "off" : brief(value),
  ]);
  return [
    element(
      "p",
      { class: "soft" },
      `From ${sources.join(", ") || "the default"}, version ${version ?? 0}`,
      differsFromDeclared && ". It differs from what the service declared.",
    ),
    facts(pairs),
  ];
}

/** All overrides, the strongest first: that one is in force. */
function overrides(list, onClear) {
  const rows = list.map(({ id, mode, actor, reason, expireTime }, index) =>
    element(
      "li",
      { class: index === 0 ? "in-force" : undefined },
      pill(plain(mode, "OVERRIDE_MODE_"), "held"),
      element("strong", {}, id),
      index === 0 && element("span", { class: "mark" }, "in force"),
      element("span", {}, `by ${actor}${reason ? `: ${reason}` : ""}`),
      element("span", { class: "soft" }, expireTime ? ["until ", instant(expireTime)] : "until it is cleared"),
      element("button", { type: "button", "aria-label": `Clear override ${id}`, onclick: () => onClear(id) }, "Clear"),
    ),
  );
  return rows.length === 0 ? [] : [element("ul", { class: "overrides", "aria-label": "Overrides" }, rows)];
}

function happened(event) {
  const kind = plain(event.kind, "EVENT_KIND_");
  const moves = Number(event.count ?? 1);
  const { actor, comment, evidence } = event;
  const caller = event.status?.caller?.caller;
  return element(
    "li",
    { class: TROUBLE[kind] },
    element(
      "p",
      {},
      element("strong", {}, words(kind)),
      caller ? ` ${caller}` : "",
      moves > 1 && element("span", { class: "times" }, ` ×${count(moves)}`),
      " · ",
      words(plain(event.reason, "EVENT_REASON_")),
      element("span", { class: "soft" }, ` · ${event.sequence}`),
    ),
    element(
      "p",
      { class: "soft" },
      moves > 1 && [instant(event.firstEventTime), " to "],
      instant(event.eventTime),
    ),
    (actor || comment) && element("p", {}, [actor, comment].filter(Boolean).join(": ")),
    evidence && element("p", { class: "soft" }, brief(evidence)),
  );
}

/** Shows a breaker in `main`. Returns how to leave it. */
export function breaker(main, breakers, name) {
  document.title = `${name} – Fuseboard`;
  const samples = [];
  let [before, view, received, timer, gone, asking] = [null, null, 0, 0, false, false];
  const part = (title, extra = "") => {
    const body = element("div");
    return [element("section", { class: `card ${extra}`, "aria-label": title }, element("h2", {}, title), body), body];
  };
  const head = element("div");
  const held = element("div");
  const act = element("div");
  const [chartCard, chartBody] = part("Outcomes", "wide");
  const [windowCard, windowBody] = part("In the window");
  const [lifeCard, lifeBody] = part("Over its life");
  const [callersCard, callersBody] = part("Callers: is it them, or is it us?", "wide");
  const [policyCard, policyBody] = part("Policy in force");
  const [eventsCard, eventsBody] = part("What has happened");
  const timeline = element("ol", { class: "timeline" });
  const older = element(
    "button",
    { type: "button", hidden: true, onclick: () => history(older.dataset.page) },
    "Older",
  );
  eventsBody.append(timeline, older);
  chartBody.append(
    element("div"),
    element(
      "p",
      { class: "legend" },
      KINDS.map(([kind, name]) => element("span", { class: kind }, name)),
    ),
  );
  // Hidden until there is something to tell.
  const body = element(
    "div",
    { hidden: true },
    element("section", { class: "card wide", "aria-label": "Actions" }, act),
    element("div", { class: "grid" }, chartCard, windowCard, lifeCard, callersCard, policyCard, eventsCard),
  );
  main.replaceChildren(element("p", {}, element("a", { href: "#/" }, "← All breakers")), head, held, body);

  function drawHead() {
    if (!view) return;
    const { status } = view;
    const [state, mode] = [stateOf(status), heldOf(status)];
    const remaining = millis(status.stateRemaining);
    const left = remaining === undefined ? undefined : Math.max(0, remaining - (performance.now() - received));
    head.replaceChildren(
      element("h1", {}, name),
      element(
        "p",
        { class: "head" },
        element("span", { class: "state" }, pill(state)),
        mode && pill(mode, "held"),
        left !== undefined && element("span", { class: "countdown" }, `${span(left)} left`),
        element("span", { class: "soft" }, "since ", instant(status.stateSince)),
      ),
    );
  }

  function draw() {
    const { status, window = {}, totals = {} } = view;
    drawHead();
    body.hidden = false;
    const all = view.overrides ?? [];
    // Drawn anew only when it changes, so that a button stays under the pointer.
    if (held.dataset.shown !== JSON.stringify(all)) {
      held.dataset.shown = JSON.stringify(all);
      held.replaceChildren(...overrides(all, (id) => clear(name, id, poll)));
    }
    const isHeld = all.length > 0;
    const isOpen = status.state === "STATE_OPEN";
    const shown = `${isHeld} ${isOpen}`;
    if (act.dataset.shown !== shown) {
      act.dataset.shown = shown;
      act.replaceChildren(actions(name, isHeld, isOpen, poll));
    }
    chartBody.firstChild.replaceChildren(...chart(samples));
    windowBody.replaceChildren(
      ...rate(window),
      facts([
        ["Failures in a row", count(status.failures)],
        ["Probes out", view.round && count(view.round.probesOut)],
        ["Round", view.round && `${count(view.round.successes)} succeeded, ${count(view.round.failures)} failed`],
      ]),
    );
    lifeBody.replaceChildren(
      facts([
        ["Succeeded", count(totals.successes)],
        ["Failed", count(totals.failures)],
        ["Of them timeouts", count(totals.timeouts)],
        ["Refused", count(totals.rejected)],
        ["Opened", count(totals.opens)],
        ["Closed again", count(totals.closes)],
        ["Last opened", instant(totals.lastOpenTime)],
        ["Last closed", instant(totals.lastCloseTime)],
        ["Last success", instant(totals.lastSuccessTime)],
        ["Last failure", instant(totals.lastFailureTime)],
        ["Ignored", count(totals.ignored)],
        ["Late reports", count(totals.stale)],
        ["Never reported", count(totals.expired)],
        ["Generation", count(status.generation)],
        ["Made", instant(view.createTime)],
      ]),
    );
    callersBody.replaceChildren(
      element("p", { class: "soft" }, `It takes failures of ${count(view.quorum ?? 1)} of them to open it for all.`),
      callers(view.callers ?? []),
    );
    policyBody.replaceChildren(...policy(view.policy ?? {}));
  }

  async function poll() {
    clearTimeout(timer);
    if (gone || asking) return;
    asking = true;
    try {
      view = await api.breaker(name);
      received = performance.now();
      const totals = view.totals ?? {};
      if (before) samples.push(between(before, totals));
      if (samples.length > POLLS) samples.shift();
      before = totals;
      if (!gone) draw();
    } catch (error) {
      if (!gone && !view)
        head.replaceChildren(
          element("h1", {}, name),
          element("p", {}, error instanceof Refused ? error.message : "The server cannot be reached."),
        );
    }
    asking = false;
    if (!gone) timer = setTimeout(poll, document.hidden ? POLL_MS * 5 : POLL_MS);
  }

  async function history(page) {
    const answer = await api.events(name, page).catch(() => ({}));
    timeline.append(...(answer.events ?? []).map(happened));
    if (!timeline.firstChild) timeline.append(element("li", { class: "soft" }, "Nothing yet."));
    older.hidden = !answer.nextPageToken;
    older.dataset.page = answer.nextPageToken ?? "";
  }

  const leave = breakers.follow(
    () => {},
    (event) => {
      if (event.breaker !== name) return;
      if (timeline.firstChild?.classList.contains("soft")) timeline.replaceChildren();
      timeline.prepend(happened(event));
      poll();
    },
  );
  const ticking = setInterval(drawHead, 1000);
  poll();
  history("");
  return () => {
    gone = true;
    leave();
    clearTimeout(timer);
    clearInterval(ticking);
  };
}
