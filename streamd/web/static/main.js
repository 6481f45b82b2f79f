// The dashboard: logs in, follows, and does what the buttons say.

import { ask, follow, pathOf, Refused } from "./api.js";
import { closeDialog, complain, dialog, say } from "./dialog.js";
import { lineText, previewAt } from "./format.js";
import { addOutput, newToken, planOutput } from "./output.js";
import { Store } from "./store.js";
import { at, make, showCounts, showDiagnostics, showRoutes } from "./view.js";

const LINES = 100;
const MEDIA_EVERY = 30_000;
const store = new Store();
let role = "";
let leave = () => {};
let lostAt = 0;
let drawing = 0;
let looking = 0;
/** The address of the thing whose button had the focus last. */
let held = "";

document.documentElement.dataset.bsTheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

function draw() {
  // Many events come at once; the eye sees one picture.
  if (drawing) return;
  drawing = requestAnimationFrame(() => {
    drawing = 0;
    showCounts(at("counts"), store.counts());
    showDiagnostics(at("diagnostics"), at("diagnostics-list"), store.diagnostics);
    showRoutes(at("routes"), at("nothing"), store.routes(at("search").value, at("filter").value), store, role);
    keepFocus();
    showConnection();
  });
}

/** A button that goes, as "Stop" does when that is done, leaves the focus to another of the same thing. */
function keepFocus() {
  if (!held || document.activeElement !== document.body) return;
  [...at("routes").querySelectorAll("button")].find((button) => button.dataset.address === held)?.focus({ preventScroll: true });
}

function showConnection() {
  const banner = at("connection");
  const since = lostAt ? new Date(lostAt).toLocaleTimeString() : "";
  let text = "";
  if (lostAt) text = `The connection is lost since ${since}. What is shown is as it was then; trying again.`;
  else if (role && !store.running) text = "streamd is not running. Streams go on without it; what is shown is as it was.";
  banner.hidden = !text;
  // Set only where it differs, so that a screen reader says it once.
  if (banner.textContent !== text) banner.textContent = text;
  document.title = text ? "! streamd" : "streamd";
}

/** See what MediaMTX shows, now and then: nothing depends on it but links. */
async function lookAtMedia() {
  clearTimeout(looking);
  if (!role) return;
  looking = setTimeout(lookAtMedia, MEDIA_EVERY);
  if (document.hidden) return;
  try {
    store.media = await ask("GET", "/api/system/mediamtx/status");
    draw();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
}

function tell(text) {
  at("told").textContent = text;
}

async function enter() {
  let who;
  try {
    who = await ask("GET", "/api/session");
  } catch (error) {
    if (error.status !== 401) {
      lostAt ||= Date.now();
      showConnection();
      setTimeout(enter, 3000);
      return;
    }
    out();
    return;
  }
  role = who.role;
  lostAt = 0;
  at("who").textContent = `${who.name} (${who.role})`;
  at("log-in").hidden = true;
  at("session").hidden = false;
  at("board").hidden = false;
  at("add-input").hidden = role !== "admin";
  lookAtMedia();
  leave();
  leave = follow(
    store,
    (event) => {
      if (store.apply(event)) draw();
    },
    (stands) => {
      if (stands) lostAt = 0;
      else {
        lostAt ||= Date.now();
        // It may be that the key is none any more.
        ask("GET", "/api/session").catch((error) => error.status === 401 && out());
      }
      draw();
    },
  );
}

function out() {
  leave();
  leave = () => {};
  role = "";
  lostAt = 0;
  Object.assign(store, new Store());
  for (const id of ["board", "session"]) at(id).hidden = true;
  for (const id of ["routes", "counts", "diagnostics-list"]) at(id).replaceChildren();
  at("log-in").hidden = false;
  showConnection();
  at("key").focus();
}

at("log-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("log-in-problem").textContent = "";
  try {
    await ask("POST", "/api/session", { key: at("key").value.trim() });
    at("log-in").reset();
    await enter();
    at("main").focus();
  } catch (error) {
    at("log-in-problem").textContent = error.message;
  }
});

at("log-out").addEventListener("click", async () => {
  try {
    await ask("DELETE", "/api/session");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status !== 401) {
      // The cookie is still good: whoever leaves now must not believe that it is not.
      complain("You are still logged in", error);
      return;
    }
  }
  out();
});

/** Show the last lines of the log of a thing, and more at the press of the button. */
function showLog(thing) {
  const lines = at("dialog-lines");
  const stands = dialog({ title: `Log of ${thing.address}`, verb: "Refresh" }, async () => {});
  const load = async () => {
    try {
      const found = await ask("GET", `${pathOf(thing.address)}/log?lines=${LINES}`);
      if (!stands()) return;
      lines.textContent = found.lines.map(lineText).join("\n") || "Nothing was logged.";
      lines.scrollTop = lines.scrollHeight;
    } catch (error) {
      if (stands()) say(error);
    }
  };
  at("dialog-cancel").textContent = "Close";
  lines.textContent = "";
  lines.hidden = false;
  at("dialog-form").onsubmit = (event) => {
    event.preventDefault();
    load();
  };
  load();
}

/** Show a route as MediaMTX's own page does, in a frame that is gone with the dialog, and no viewer any more. */
function showPreview(thing) {
  dialog({ title: `Preview of ${thing.address}`, verb: "Close" }, async () => {});
  at("dialog-cancel").hidden = true;
  const src = previewAt(store.media, thing.address, location);
  // It is of another port, hence of another origin: with its own origin it can do nothing here.
  const sandbox = "allow-scripts allow-same-origin";
  at("dialog-fields").append(make("iframe", { id: "preview", title: `Preview of ${thing.address}`, src, sandbox, allow: "autoplay" }));
}

at("dialog-cancel").addEventListener("click", closeDialog);

const NAME = { pattern: "[a-z0-9]([a-z0-9_\\-]{0,61}[a-z0-9])?", maxlength: "63", required: true };

function outputFields() {
  return [
    { name: "id", label: "Name", hint: "small letters, digits, - and _", ...NAME },
    { name: "url", label: "Destination", hint: "srt://HOST:PORT, rtmps://HOST/APPLICATION, udp://ADDRESS:PORT or rtsp://HOST/PATH", required: true },
    { name: "secret", label: "Stream key or passphrase, where it has one", type: "password" },
  ];
}

at("add-input").addEventListener("click", () => {
  const fields = [
    { name: "id", label: "Name", hint: "small letters, digits, - and _", ...NAME },
    { name: "url", label: "Source", value: "udp://0.0.0.0:auto", hint: "udp://0.0.0.0:auto takes a free port; test: makes a picture", required: true },
    { name: "description", label: "Description", maxlength: "200" },
  ];
  const body = ({ id, url, description }) => ({ id, input: { url }, ...(description ? { description } : {}) });
  const plan = async (words) => (await ask("POST", "/api/inputs?dry-run=true", body(words))).steps;
  dialog({ title: "Add an input", verb: "Add", fields, plan }, async (words) => {
    await ask("POST", "/api/inputs", body(words));
    tell(`${words.id} is added`);
  });
});

function edit(thing) {
  const isRoute = thing.output === undefined;
  const fields = [
    { name: "url", label: isRoute ? "Source" : "Destination", value: thing.url, required: true },
    { name: "description", label: "Description", value: thing.description, maxlength: "200" },
  ];
  const body = ({ url, description }) => ({
    ...(url === thing.url ? {} : isRoute ? { input: { url } } : { url }),
    ...(description === thing.description ? {} : { description: description || null }),
  });
  const path = pathOf(thing.address);
  const plan = async (words) => {
    const found = body(words);
    return Object.keys(found).length ? (await ask("PATCH", `${path}?dry-run=true`, found)).steps : [];
  };
  dialog({ title: `Edit ${thing.address}`, verb: "Save", fields, plan }, async (words) => {
    const found = body(words);
    if (Object.keys(found).length) await ask("PATCH", path, found);
    tell(`${thing.address} is changed`);
  });
}

/** What stopping, restarting or removing a thing does to others. */
function consequence(thing) {
  if (thing.output !== undefined) return "No other output is touched.";
  const count = [...store.things.values()].filter((each) => each.route === thing.address && each.output !== undefined).length;
  return `This concerns its ${count === 1 ? "one output" : `${count} outputs`} as well.`;
}

const CONFIRMED = {
  stop: ["Stop", "It stays stopped, over reboots too, until it is started.", (path) => ask("POST", `${path}/stop`)],
  restart: ["Restart", "It is interrupted for a moment.", (path) => ask("POST", `${path}/restart`)],
  disable: ["Disable", "It stops, and its file says enabled = false.", (path) => ask("PATCH", path, { enabled: false })],
  remove: ["Remove", "It stops, and its definition is gone.", (path) => ask("DELETE", path)],
};
/** What those that change a file would do. */
const PLANNED = {
  disable: (path) => ask("PATCH", `${path}?dry-run=true`, { enabled: false }),
  remove: (path) => ask("DELETE", `${path}?dry-run=true`),
};
const AT_ONCE = {
  start: (path) => ask("POST", `${path}/start`),
  enable: (path) => ask("PATCH", path, { enabled: true }),
};

at("routes").addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-verb]");
  const thing = button && store.things.get(button.dataset.address);
  if (!thing) return;
  const { verb } = button.dataset;
  const path = pathOf(thing.address);
  if (verb === "edit") edit(thing);
  else if (verb === "log") showLog(thing);
  else if (verb === "preview") showPreview(thing);
  else if (verb === "add") {
    const token = newToken();
    const plan = (words) => planOutput(store, thing.address, words);
    dialog({ title: `Add an output to ${thing.address}`, verb: "Add", fields: outputFields(), plan }, async (words) => {
      await addOutput(store, thing.address, words, token);
      tell(`${thing.address}/${words.id} is added`);
    });
  } else if (verb in CONFIRMED) {
    const [word, text, act] = CONFIRMED[verb];
    const plan = PLANNED[verb] && (async () => (await PLANNED[verb](path)).steps);
    const more = { plan, asked: Boolean(plan) };
    const said = plan ? text : `${text} ${consequence(thing)}`;
    dialog({ title: `${word} ${thing.address}?`, text: said, verb: word, danger: verb === "remove", ...more }, async () => {
      await act(path);
      tell(`${thing.address}: ${word} is done`);
    });
  } else {
    button.disabled = true;
    try {
      await AT_ONCE[verb](path);
      tell(`${thing.address}: ${verb} is done`);
    } catch (error) {
      complain(`${thing.address} cannot be ${verb === "start" ? "started" : "enabled"}`, error);
    } finally {
      button.disabled = false;
    }
  }
});

document.addEventListener("focusin", (event) => {
  // A dialog gives the focus back.
  if (!event.target.closest("dialog")) held = event.target.dataset.address ?? "";
});
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("button, dialog")) held = "";
});

at("dialog").addEventListener("close", () => {
  document.getElementById("preview")?.remove();
  // The button may have gone while its dialog was open.
  keepFocus();
});

at("search").addEventListener("input", draw);
at("filter").addEventListener("change", draw);
enter();
