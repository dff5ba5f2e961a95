// Making elements. Texts become text nodes and nothing else: names and comments come from strangers.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child !== undefined && child !== null && child !== false) {
      node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }
  return node;
}

/** An element of HTML. */
export const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** An element of SVG. */
export const shape = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** A number for people. */
export const count = (value) => Number(value ?? 0).toLocaleString("en");

/** Milliseconds of a proto duration as "1.5s". */
export const millis = (duration) => (duration ? Number.parseFloat(duration) * 1000 : undefined);

/** A length of time for people: the two largest units. */
export function span(milliseconds) {
  let seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const parts = [];
  for (const [unit, length] of [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ]) {
    if (seconds >= length && parts.length < 2) parts.push(`${Math.floor(seconds / length)} ${unit}`);
    seconds %= length;
  }
  return parts.join(" ") || "0 s";
}

/** An instant for people, in their own zone. */
export const instant = (text) =>
  text ? element("time", { datetime: text, title: text }, new Date(text).toLocaleString()) : "–";

/** "STATE_HALF_OPEN" as "half_open". */
export const plain = (value, prefix) => (value ?? "").replace(prefix, "").toLowerCase();

/** "half_open" as "half-open"; "forced_open" as "forced open". */
export const words = (name) => name.replace("half_open", "half-open").replaceAll("_", " ");

/** The state of a breaker, as a class and a word. */
export const stateOf = (status) => plain(status.state, "STATE_") || "closed";
export const heldOf = (status) => plain(status.overrideMode, "OVERRIDE_MODE_");

/** A small label with a state or an override. */
export const pill = (name, kind = name) => element("span", { class: `pill ${kind}` }, words(name));
