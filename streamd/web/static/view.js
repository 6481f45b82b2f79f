// The page: elements made from what the store knows. Whatever comes from elsewhere is set as text, never as HTML.

import { diagnosticText, kind, previewAt, rate, span, spark, watchAt } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

/** Return the element of the page that has an id. */
export const at = (id) => document.getElementById(id);

/** Make an element. */
export function make(tag, { text, classes, ...attributes } = {}, ...children) {
  const found = document.createElement(tag);
  if (classes) found.className = classes;
  if (text !== undefined) found.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) found.setAttribute(name, value === true ? "" : value);
  }
  found.append(...children);
  return found;
}

export function showCounts(place, counts) {
  const one = (text, number, bad) =>
    make("div", { classes: bad && number ? "bad" : "" }, make("dt", { text }), make("dd", { text: String(number) }));
  place.replaceChildren(
    one("inputs", counts.inputs),
    one("outputs", counts.outputs),
    one("running", counts.running),
    one("failing", counts.failing, true),
    one("file errors", counts.errors, true),
  );
}

export function showDiagnostics(section, place, diagnostics) {
  section.hidden = diagnostics.length === 0;
  const wanted = make("div");
  wanted.append(
    ...diagnostics.map((found) => {
      const text = diagnosticText(found);
      return make("pre", { text, tabindex: "0", "data-key": text });
    }),
  );
  become(place, wanted.childNodes);
}

function state(thing) {
  return make("span", { text: thing.state, classes: `state ${kind(thing.state)}` });
}

function sparkline(samples, address) {
  const found = document.createElementNS(SVG, "svg");
  found.setAttribute("class", "spark");
  found.setAttribute("viewBox", "0 0 100 24");
  found.setAttribute("preserveAspectRatio", "none");
  found.setAttribute("role", "img");
  found.setAttribute("aria-label", `Bitrate of ${address} over the last two minutes`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", spark(samples));
  found.append(path);
  return found;
}

/** Buttons of a thing; which they are depends on what the key is good for. */
function actions(thing, role, canPreview = false) {
  const found = make("div", { classes: "actions" });
  const add = (verb, text) => {
    const button = make("button", {
      text,
      type: "button",
      classes: "btn btn-sm btn-outline-secondary",
      "data-key": verb,
      "data-verb": verb,
      "data-address": thing.address,
      "aria-label": `${text} ${thing.address}`,
    });
    found.append(button);
  };
  if (role === "operator" || role === "admin") {
    if (thing.state === "stopped") add("start", "Start");
    else if (thing.state !== "disabled") {
      add("stop", "Stop");
      add("restart", "Restart");
    }
  }
  if (canPreview) add("preview", "Preview");
  add("log", "Log");
  if (role === "admin") {
    add(thing.enabled ? "disable" : "enable", thing.enabled ? "Disable" : "Enable");
    add("edit", "Edit");
    if (thing.output === undefined) add("add", "Add an output");
    add("remove", "Remove");
  }
  return found;
}

function outputRow(output, store, role) {
  const counted = store.statistics.get(output.address) ?? {};
  const cause = [output.cause, output.advice].filter(Boolean).join("; ");
  const row = make(
    "tr",
    { "data-key": output.address },
    make("td", { classes: "name", text: output.output }),
    make("td", {}, state(output)),
    make("td", { classes: "wide" }, make("div", { classes: "url", text: output.url }), make("div", { classes: "cause", text: cause })),
    make(
      "td",
      { classes: "rate" },
      sparkline(store.bitrates.get(output.address) ?? [], output.address),
      make("span", { classes: "number", text: rate(counted.bitrate) }),
    ),
    make("td", { classes: "number", text: span(counted.uptime) }),
  );
  row.append(make("td", { classes: "wide" }, actions(output, role)));
  return row;
}

/** Links to where a route can be watched, on MediaMTX's own pages. */
function watching(route, store) {
  if (!store.isWatchable(route.address)) return [];
  const found = [];
  for (const [name, listener] of [["WebRTC", store.media.webrtc], ["HLS", store.media.hls]]) {
    const href = watchAt(listener, route.address, location.hostname);
    if (href) {
      const text = `Watch by ${name}`;
      found.push(make("a", { text, href, target: "_blank", rel: "noopener", "data-key": name, "aria-label": `${text}: ${route.address}` }));
    }
  }
  return found;
}

function routeCard({ route, outputs }, store, role) {
  const counted = store.statistics.get(route.address) ?? {};
  const head = make(
    "div",
    { classes: "head" },
    make("h2", { text: route.address, id: `route-${route.address}` }),
    state(route),
    make("span", { classes: "number", text: rate(counted.bitrate) }),
    make("span", { classes: "url", text: route.url }),
    make("span", { classes: "hint", text: route.description }),
    ...watching(route, store),
    actions(route, role, store.isWatchable(route.address) && previewAt(store.media, route.address, location) !== ""),
  );
  const card = make("section", { classes: "card", "data-key": route.address, "aria-labelledby": `route-${route.address}` }, head);
  const cause = [route.cause, route.broken ? "its file has errors, it runs as it was before them" : ""].filter(Boolean).join("; ");
  if (cause) card.append(make("p", { classes: "cause bad", "data-key": "cause", text: cause }));
  if (outputs.length) {
    const names = ["Output", "State", "Destination and cause", "Bitrate", "Up for", "Actions"];
    const heads = names.map((text) => make("th", { text, scope: "col" }));
    card.append(
      make(
        "table",
        { classes: "outputs" },
        make("thead", {}, make("tr", {}, ...heads)),
        make("tbody", {}, ...outputs.map((output) => outputRow(output, store, role))),
      ),
    );
  } else {
    card.append(make("p", { classes: "hint", text: "There is no output to show here." }));
  }
  return card;
}

/** Show the routes. */
export function showRoutes(place, nothing, shown, store, role) {
  const wanted = make("div");
  wanted.append(...shown.map((each) => routeCard(each, store, role)));
  become(place, wanted.childNodes);
  nothing.hidden = shown.length > 0;
  nothing.textContent = store.things.size ? "Nothing matches." : "There are no routes.";
}

/**
 * Let an element have these children, with as little change as possible: a button must be the same one when the mouse
 * goes up as when it went down, and keep the focus, however often the numbers beside it change; and what is selected
 * stays so.
 */
function become(place, wanted) {
  let here = place.firstChild;
  for (const child of [...wanted]) {
    let found = here;
    while (found && !isSame(found, child)) found = found.nextSibling;
    if (!found) {
      place.insertBefore(child, here);
      continue;
    }
    // What stands before it is either gone, or moves behind it.
    if (found !== here) place.insertBefore(found, here);
    else here = here.nextSibling;
    update(found, child);
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

function isSame(one, other) {
  return one.nodeName === other.nodeName && one.dataset?.key === other.dataset?.key;
}

function update(old, wanted) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && name !== "disabled") old.removeAttribute(name);
  }
  become(old, wanted.childNodes);
}
