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
  const width = Math.max(1, Math.min(found.length, found.text.length - found.column + 1));
  return `${head}\n  ${found.text.replaceAll("\t", " ")}\n  ${" ".repeat(found.column - 1)}^${"~".repeat(width - 1)}`;
}

/** The path of a sparkline in a box of 100 by 24. */
export function spark(values) {
  if (values.length < 2) return "";
  const most = Math.max(...values, 1);
  const step = 100 / (values.length - 1);
  return values.map((value, at) => `${at ? "L" : "M"}${(at * step).toFixed(1)} ${(22 - (20 * value) / most).toFixed(1)}`).join("");
}
