// What an operator can do to a breaker. Each act is asked for with a name and a reason, which stay in the history.

import { Refused, api } from "./api.js";
import { element } from "./dom.js";
import { signedIn } from "./session.js";

const ACTOR = "fuseboard.actor";

const ACTS = [
  {
    label: "Reset",
    what: "Closes the breaker and empties its statistics. An override stays.",
    run: (name, said) => api.reset(name, said),
  },
  {
    label: "Probe now",
    what: "Moves an open breaker to half-open at once: probes decide. An override stays.",
    open: true,
    run: (name, said) => api.probeNow(name, said),
  },
  {
    label: "Force open",
    danger: true,
    expires: true,
    what: "Every call is refused, whatever the breaker computes.",
    run: (name, said) => api.setOverride(name, { ...said, mode: "OVERRIDE_MODE_FORCED_OPEN" }),
  },
  {
    label: "Force closed",
    danger: true,
    expires: true,
    what: "Every call is permitted, also to a dependency that is down.",
    run: (name, said) => api.setOverride(name, { ...said, mode: "OVERRIDE_MODE_FORCED_CLOSED" }),
  },
  {
    label: "Shadow",
    expires: true,
    what: "Every call is permitted, and events say what would have happened.",
    run: (name, said) => api.setOverride(name, { ...said, mode: "OVERRIDE_MODE_SHADOW" }),
  },
  {
    label: "Clear all overrides",
    held: true,
    what: "The computed state applies again at once.",
    run: (name, said) => api.clearOverride(name, said),
  },
];

/** The buttons for a breaker. `isHeld` tells whether there is an override, `isOpen` whether it is open; `done` is called after each act. */
export function actions(name, isHeld, isOpen, done) {
  const buttons = ACTS.map((act) =>
    element(
      "button",
      {
        type: "button",
        class: act.danger ? "danger" : "",
        disabled: (act.held && !isHeld) || (act.open && !isOpen),
        onclick: () => ask(name, act, done),
      },
      act.label,
    ),
  );
  return element("div", { class: "acts", role: "group", "aria-label": "Actions" }, buttons);
}

/** Asks for a reason to clear the override with an id; others stay. */
export function clear(name, id, done) {
  const act = {
    label: "Clear override",
    what: `Clears the override “${id}”. The strongest of the others is in force then.`,
    run: (breaker, said) => api.clearOverride(breaker, { ...said, id }),
  };
  ask(name, act, done);
}

function ask(name, act, done) {
  const actor = element("input", {
    name: "actor",
    required: true,
    maxlength: 200,
    autocomplete: "name",
    value: signedIn() ?? localStorage.getItem(ACTOR),
  });
  const reason = element("input", { name: "reason", required: true, maxlength: 1000 });
  // An override with the same id is replaced.
  const id = element("input", { name: "id", maxlength: 64, placeholder: "default" });
  const expiry = element(
    "select",
    { name: "expiry" },
    [
      ["", "Until it is cleared"],
      ["300s", "5 minutes"],
      ["1800s", "30 minutes"],
      ["3600s", "1 hour"],
      ["28800s", "8 hours"],
      ["86400s", "1 day"],
    ].map(([value, label]) => element("option", { value }, label)),
  );
  const fault = element("p", { class: "fault", role: "alert", hidden: true });
  const send = element("button", { type: "submit", class: "main" }, act.label);
  const dialog = element(
    "dialog",
    { "aria-labelledby": "act" },
    element(
      "form",
      { method: "dialog", onsubmit: submit },
      element("h2", { id: "act" }, `${act.label}: ${name}`),
      element("p", { class: "soft" }, act.what),
      // Who is signed in is asked for no name.
      !signedIn() && element("label", {}, "Your name", actor),
      element("label", {}, "Reason", reason),
      act.expires && element("label", {}, "Ends", expiry),
      act.expires && element("label", {}, "Id of the override", id),
      fault,
      element(
        "div",
        { class: "buttons" },
        element("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        send,
      ),
    ),
  );

  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    if (!signedIn()) localStorage.setItem(ACTOR, actor.value);
    const said = { actor: actor.value, reason: reason.value };
    if (act.expires && expiry.value) said.expireAfter = expiry.value;
    if (act.expires && id.value) said.id = id.value;
    try {
      await act.run(name, said);
      dialog.close();
      done();
    } catch (error) {
      fault.textContent = error instanceof Refused ? error.message : "The server cannot be reached.";
      fault.hidden = false;
      send.disabled = false;
    }
  }

  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  (actor.value ? reason : actor).focus();
}
