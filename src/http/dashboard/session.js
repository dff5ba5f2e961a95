// Who looks: signing in with a token, and out again. The token becomes a cookie that no script can read.

import { Refused, api } from "./api.js";
import { element } from "./dom.js";

let identity = {};

/** The name of whoever is signed in; nothing where the server asks nobody. */
export const signedIn = () => identity.name;

/** Shows who is signed in, or asks; answers whether there is somebody who may look. */
export async function enter(main, who) {
  try {
    identity = await api.identity();
  } catch (error) {
    if (error instanceof Refused && error.reason === "UNAUTHENTICATED") {
      ask(main);
      return false;
    }
    // The board says by itself that the server cannot be reached.
    return true;
  }
  if (identity.authenticated) {
    const out = element("button", { type: "button", onclick: () => leave() }, "Sign out");
    who.replaceChildren(element("span", {}, identity.name), out);
  }
  return true;
}

async function leave() {
  await api.logout().catch(() => {});
  location.reload();
}

function ask(main) {
  const token = element("input", { name: "token", type: "password", required: true, autocomplete: "current-password" });
  const fault = element("p", { class: "fault", role: "alert", hidden: true });
  const form = element(
    "form",
    { class: "login", onsubmit: submit },
    element("h1", {}, "Sign in"),
    element("p", { class: "soft" }, "This server asks who looks. A token comes from whoever runs it."),
    element("label", {}, "Token", token),
    fault,
    element("button", { type: "submit", class: "main" }, "Sign in"),
  );

  async function submit(event) {
    event.preventDefault();
    try {
      await api.login(token.value);
      location.reload();
    } catch (error) {
      fault.textContent = error instanceof Refused ? error.message : "The server cannot be reached.";
      fault.hidden = false;
    }
  }

  main.replaceChildren(form);
  token.focus();
}
