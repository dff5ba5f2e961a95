// The board: all breakers, those in trouble first, in pages that a browser draws at once.

import { count, element, heldOf, pill, span, stateOf } from "./dom.js";

const PAGE = 120;
const ORDER = { open: 0, half_open: 1, closed: 2 };
const FILTERS = [
  ["all", "All"],
  ["open", "Open"],
  ["half_open", "Half-open"],
  ["closed", "Closed"],
  ["held", "Overridden"],
];

const chosen = { search: "", filter: "all", grouped: false, page: 0 };

const prefix = (name) => (name.includes("/") ? name.slice(0, name.indexOf("/") + 1) : "without a prefix");
const rank = (status) => (heldOf(status) === "forced_open" ? 0 : ORDER[stateOf(status)]);

function fits(status) {
  const { search, filter } = chosen;
  if (search && !status.breaker.toLowerCase().includes(search)) return false;
  if (filter === "all") return true;
  return filter === "held" ? heldOf(status) !== "" : stateOf(status) === filter;
}

function compare(one, other) {
  if (chosen.grouped) {
    const [left, right] = [prefix(one.breaker), prefix(other.breaker)];
    if (left !== right) return left < right ? -1 : 1;
  }
  return rank(one) - rank(other) || (one.breaker < other.breaker ? -1 : 1);
}

function row(status, breakers) {
  const state = stateOf(status);
  const held = heldOf(status);
  const left = breakers.left(status);
  const failures = Number(status.failures ?? 0);
  return element(
    "li",
    {},
    element(
      "a",
      { class: `row ${state}`, href: `#/breakers/${encodeURIComponent(status.breaker)}`, title: status.breaker },
      element("span", { class: "name" }, status.breaker),
      element(
        "span",
        { class: "side" },
        failures > 0 && state === "closed" && `${count(failures)} failed`,
        left !== undefined && state === "open" && element("span", { class: "countdown" }, span(left)),
        held && pill(held, "held"),
        pill(state),
      ),
    ),
  );
}

/** Shows the board in `main`. Returns how to leave it. */
export function board(main, breakers) {
  const heading = element("h1", {}, "Breakers");
  const summary = element("p", { class: "soft", role: "status" });
  const search = element("input", {
    type: "search",
    placeholder: "Search by name",
    "aria-label": "Search by name",
    value: chosen.search,
    oninput: () => choose({ search: search.value.toLowerCase() }),
  });
  const buttons = FILTERS.map(([filter, label]) =>
    element("button", { type: "button", "data-filter": filter, onclick: () => choose({ filter }) }, label),
  );
  const grouping = element(
    "button",
    { type: "button", onclick: () => choose({ grouped: !chosen.grouped }) },
    "Group by prefix",
  );
  const filters = element("div", { class: "filters", role: "group", "aria-label": "Filter" }, buttons, grouping);
  const list = element("div");
  const pager = element("nav", { class: "pager", "aria-label": "Pages" });
  main.replaceChildren(heading, summary, element("div", { class: "tools" }, search, filters), list, pager);
  document.title = "Fuseboard";

  function choose(change) {
    Object.assign(chosen, { page: 0 }, change);
    draw();
  }

  function turn(by) {
    chosen.page += by;
    draw();
    main.focus();
    scrollTo(0, 0);
  }

  function draw() {
    const all = [...breakers.all.values()];
    const found = all.filter(fits).sort(compare);
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    chosen.page = Math.min(chosen.page, pages - 1);
    const shown = found.slice(chosen.page * PAGE, (chosen.page + 1) * PAGE);
    const open = all.filter((status) => stateOf(status) === "open").length;
    const half = all.filter((status) => stateOf(status) === "half_open").length;
    summary.textContent = `${count(all.length)} in all, ${count(open)} open, ${count(half)} half-open`;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.filter === chosen.filter));
    grouping.setAttribute("aria-pressed", String(chosen.grouped));

    // Whoever is in the list with the keyboard stays where they are.
    const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const parts = [];
    let group;
    let rows;
    for (const status of shown) {
      const own = chosen.grouped ? prefix(status.breaker) : "";
      if (own !== group || !rows) {
        group = own;
        rows = element("ul", { class: "rows" });
        if (chosen.grouped) {
          const members = found.filter((other) => prefix(other.breaker) === own);
          const troubled = members.filter((other) => rank(other) < 2).length;
          const note = troubled ? `${count(members.length)}, ${count(troubled)} not closed` : count(members.length);
          parts.push(element("h2", { class: "group" }, own, element("span", { class: "soft" }, note)));
        }
        parts.push(rows);
      }
      rows.append(row(status, breakers));
    }
    if (all.length === 0) {
      parts.push(
        element(
          "div",
          { class: "empty soft" },
          element("p", {}, "No breaker yet: the first call makes it."),
          element(
            "p",
            {},
            element(
              "code",
              {},
              "curl -X POST -H 'content-type: application/json' localhost:8080/api/v1/breakers/payments/acquire",
            ),
          ),
        ),
      );
    } else if (found.length === 0) {
      parts.push(element("p", { class: "empty soft" }, "None fits the search and the filter."));
    }
    list.replaceChildren(...parts);
    if (focused) [...list.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
    pager.replaceChildren();
    if (pages > 1) {
      pager.append(
        element("button", { type: "button", disabled: chosen.page === 0, onclick: () => turn(-1) }, "Previous"),
        element("span", {}, `Page ${chosen.page + 1} of ${pages}`),
        element("button", { type: "button", disabled: chosen.page === pages - 1, onclick: () => turn(1) }, "Next"),
      );
    }
  }

  draw();
  const leave = breakers.follow(draw);
  // Countdowns go on between events.
  const ticking = setInterval(() => {
    if ([...breakers.all.values()].some((status) => stateOf(status) === "open")) draw();
  }, 1000);
  return () => {
    leave();
    clearInterval(ticking);
  };
}
