// How things are written: states, rates, times. Pure.

const GOOD = new Set(["running"]);
const WAIT = new Set(["starting", "stopping", "waiting"]);
const OFF = new Set(["stopped", "disabled"]);

/** The class of a state: good, wait, off or bad. */
export function kind(state) {
  if (GOOD.has(state)) return "good";
  if (WAIT.has(state)) return "wait";
  return OFF.has(state) ? "off" : "bad";
}

/** Bits per second, in at most four digits. */
export function rate(bits) {
  if (bits === undefined) return "";
  let value = bits;
  for (const unit of ["bit/s", "kbit/s", "Mbit/s"]) {
    if (value < 1000) return `${unit === "bit/s" ? value : value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} Gbit/s`;
}

/** A length of time in µs, in at most two units. */
export function span(microseconds) {
  if (microseconds === undefined) return "";
  let seconds = Math.max(0, Math.floor(microseconds / 1e6));
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(seconds / length);
    seconds -= count * length;
    if (count) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

/** A diagnostic as it stands in a terminal: the place, the line, and a caret below it. */
export function diagnosticText(found) {
  const key = found.key ? `${found.key}: ` : "";
  const head = `${found.path}:${found.line}:${found.column}: ${key}${found.message}`;
  if (!found.text) return head;
  // Where something before the place is hidden, it is elsewhere in the line as shown.
  const place = found.mark ?? found.column;
  const width = Math.max(1, Math.min(found.length, found.text.length - place + 1));
  return `${head}\n  ${found.text.replaceAll("\t", " ")}\n  ${" ".repeat(place - 1)}^${"~".repeat(width - 1)}`;
}

/** The path of a sparkline in a box of 100 by 24. */
export function spark(values) {
  if (values.length < 2) return "";
  const most = Math.max(...values, 1);
  const step = 100 / (values.length - 1);
  return values.map((value, at) => `${at ? "L" : "M"}${(at * step).toFixed(1)} ${(22 - (20 * value) / most).toFixed(1)}`).join("");
}

const DOES = { start: "starts", stop: "stops", restart: "restarts", adjust: "adjusts" };

/** What a change does to what runs, in words. */
export function planText(steps) {
  const parts = [];
  for (const [action, word] of Object.entries(DOES)) {
    for (const noun of ["input", "output"]) {
      const count = steps.filter((step) => step.action === action && step.address.includes("/") === (noun === "output")).length;
      if (count) parts.push(`${word} ${count} ${noun}${count === 1 ? "" : "s"}`);
    }
  }
  if (!parts.length) return "This touches nothing that runs.";
  const last = parts.pop();
  return `This ${parts.length ? `${parts.join(", ")} and ` : ""}${last}.`;
}

/** Whether a change interrupts something, so that somebody should be asked. */
export function interrupts(steps) {
  return steps.some((step) => step.action === "stop" || step.action === "restart");
}

/** A line of a log. */
export function lineText({ time, text }) {
  const moment = new Date(time / 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())} ${text}`;
}

/** Where MediaMTX shows a route to whoever came to `hostname`; empty where nobody can reach it from there. */
export function watchAt(listener, route, hostname) {
  if (!listener) return "";
  const port = listener.slice(listener.lastIndexOf(":") + 1);
  const host = listener.slice(0, -port.length - 1);
  const local = ["127.0.0.1", "[::1]", "localhost"];
  const reached = ["0.0.0.0", "[::]"].includes(host) ? hostname : host;
  return local.includes(reached) && !local.includes(hostname) ? "" : `http://${reached}:${port}/${route}/`;
}

/** Where a frame of this page shows a route; empty where the browser would not show it: by HTTPS, or of another host. */
export function previewAt({ hls, webrtc }, route, here) {
  if (here.protocol !== "http:") return "";
  const found = [hls, webrtc].map((listener) => watchAt(listener, route, here.hostname));
  return found.find((url) => url.startsWith(`http://${here.hostname}:`)) ?? "";
}

const LONGEST_CREDENTIAL = 64;

/** The name of a credential that nobody has: what it is of, as far as there is room for it, its kind and a token. */
export function credentialName(of, kind, token) {
  const room = LONGEST_CREDENTIAL - kind.length - token.length - 2;
  return `${of.slice(0, room).replace(/[^a-z0-9]+$/, "")}.${kind}.${token}`;
}
