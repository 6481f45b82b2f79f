// The one dialog: it asks, and shows what comes of it.

import { Refused } from "./api.js";
import { diagnosticText, interrupts, planText } from "./format.js";
import { at, make } from "./view.js";

/** Counts what the dialog was opened for, so that an answer finds out whether it is still open for that. */
let opened = 0;

at("dialog").addEventListener("close", () => {
  // It comes a moment later, and also by Escape; the dialog may be open for something else by then.
  if (!at("dialog").open) opened += 1;
});

/** Write what went wrong into the dialog. */
export function say(error) {
  if (!(error instanceof Refused)) throw error;
  at("dialog-problem").textContent = [error.message, ...error.diagnostics.map(diagnosticText)].join("\n");
}

/**
 * Ask for confirmation and words; `act` gets these, and says no by raising Refused. Where `plan` is given, it returns
 * what that would do: this is shown first, and where it interrupts something, asked about. Return what tells whether
 * the dialog is still open for this: what is answered later must not be written into that of something else.
 */
export function dialog({ title, text = "", verb, danger = false, fields = [], plan, asked = false }, act) {
  const element = at("dialog");
  opened += 1;
  const own = opened;
  const stands = () => own === opened;
  at("dialog-title").textContent = title;
  at("dialog-text").textContent = text;
  at("dialog-problem").textContent = "";
  at("dialog-plan").textContent = "";
  at("dialog-lines").hidden = true;
  at("dialog-cancel").textContent = "Cancel";
  at("dialog-cancel").hidden = false;
  const button = at("dialog-do");
  let confirmed;
  button.disabled = false;
  button.textContent = verb;
  button.className = `btn ${danger ? "btn-danger" : "btn-primary"}`;
  at("dialog-fields").replaceChildren(
    ...fields.map(({ name, label, hint, ...more }) => {
      const input = make("input", { id: `field-${name}`, name, classes: "form-control", spellcheck: "false", autocomplete: "off", ...more });
      const parts = [make("label", { text: label, for: `field-${name}` }), input];
      if (hint) {
        parts.push(make("div", { classes: "hint", text: hint, id: `hint-${name}` }));
        input.setAttribute("aria-describedby", `hint-${name}`);
      }
      return make("div", { classes: "field" }, ...parts);
    }),
  );
  at("dialog-form").onsubmit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    at("dialog-problem").textContent = "";
    let acts = false;
    try {
      const words = Object.fromEntries(new FormData(event.target));
      const now = JSON.stringify(words);
      if (plan && now !== confirmed) {
        const steps = await plan(words);
        if (!stands()) return;
        at("dialog-plan").textContent = planText(steps);
        confirmed = now;
        if (interrupts(steps)) {
          button.textContent = `${verb} all the same`;
          return;
        }
      }
      acts = true;
      await act(words);
      if (stands()) closeDialog();
    } catch (error) {
      if (stands()) say(error);
      else if (acts) complain(title, error);
    } finally {
      if (stands()) button.disabled = false;
    }
  };
  element.oninput = () => {
    confirmed = undefined;
    at("dialog-plan").textContent = "";
    button.textContent = verb;
  };
  element.showModal();
  if (asked) {
    // There is nothing to fill in, so that what it does can be told at once.
    confirmed = "{}";
    plan({})
      .then((steps) => { if (stands()) at("dialog-plan").textContent = planText(steps); })
      .catch((error) => { if (stands()) say(error); });
  }
  return stands;
}

/** Close it; what is answered from now on is not written into it. */
export function closeDialog() {
  opened += 1;
  at("dialog").close();
}

/** Tell of what failed without a dialog that is open for it; where one is open for something else, when that closes. */
export function complain(title, error) {
  if (!(error instanceof Refused)) throw error;
  if (at("dialog").open) {
    at("dialog").addEventListener("close", () => complain(title, error), { once: true });
    return;
  }
  dialog({ title, verb: "Close" }, async () => {});
  say(error);
}
