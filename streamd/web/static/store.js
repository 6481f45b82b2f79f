// What the page knows, out of the events that come. Pure.

const KEPT = 60; // samples of a bitrate
const FAILING = new Set(["failed", "blocked", "stalled", "backoff", "starved"]);
const STOPPED = new Set(["stopped", "disabled"]);

export class Store {
  constructor() {
    this.running = false;
    this.version = "";
    this.things = new Map();
    this.diagnostics = [];
    this.statistics = new Map();
    this.bitrates = new Map();
    this.last = "";
    this.media = { hls: "", webrtc: "", paths: [] };
  }

  /** Whether MediaMTX has a route ready to be watched. */
  isWatchable(route) {
    return this.media.paths.some((path) => path.route === route && path.ready);
  }

  /** Take an event, and tell whether there is something else to show. */
  apply({ event, id, data }) {
    if (id) this.last = id;
    switch (event) {
      case "snapshot":
        this.running = data.running;
        this.version = data.version;
        this.diagnostics = data.diagnostics;
        this.things = new Map(data.things.map((thing) => [thing.address, thing]));
        return true;
      case "changed":
        this.things.set(data.address, data);
        return true;
      case "removed":
        this.things.delete(data.address);
        return true;
      case "diagnostics":
        this.diagnostics = data;
        return true;
      case "daemon":
        this.running = data.running;
        this.version = data.version;
        return true;
      case "statistics":
        this.count(data);
        return true;
      default:
        return false; // a beat, or something that a later version tells
    }
  }

  count(statistics) {
    this.statistics = new Map(statistics.map((each) => [each.address, each]));
    for (const [address, found] of this.statistics) {
      const samples = this.bitrates.get(address) ?? [];
      this.bitrates.set(address, [...samples, found.bitrate ?? 0].slice(-KEPT));
    }
    for (const address of this.bitrates.keys()) {
      if (!this.statistics.has(address)) this.bitrates.delete(address);
    }
  }

  counts() {
    const found = { inputs: 0, outputs: 0, running: 0, failing: 0, errors: this.diagnostics.length };
    for (const thing of this.things.values()) {
      if (thing.output === undefined) {
        found.inputs += 1;
      } else {
        found.outputs += 1;
        if (thing.state === "running") found.running += 1;
        if (FAILING.has(thing.state)) found.failing += 1;
      }
    }
    return found;
  }

  /** Routes with those of their outputs that are looked for; a route that matches itself has all of them. */
  routes(search = "", filter = "all") {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const found = new Map();
    for (const thing of this.things.values()) {
      if (thing.output === undefined) found.set(thing.address, { route: thing, outputs: [] });
    }
    for (const thing of this.things.values()) {
      if (thing.output !== undefined) found.get(thing.route)?.outputs.push(thing);
    }
    const shown = [];
    for (const { route, outputs } of found.values()) {
      const own = matches(route, words) && passes(route, filter);
      const some = outputs.filter((output) => (matches(route, words) || matches(output, words)) && passes(output, filter));
      if (own || some.length) shown.push({ route, outputs: filter === "all" && matches(route, words) ? outputs : some });
    }
    return shown.sort((a, b) => (a.route.address < b.route.address ? -1 : 1));
  }
}

function matches(thing, words) {
  const text = [thing.address, thing.url, thing.description, thing.cause, thing.state].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function passes(thing, filter) {
  switch (filter) {
    case "failing":
      return FAILING.has(thing.state) || thing.broken === true;
    case "running":
      return thing.state === "running";
    case "stopped":
      return STOPPED.has(thing.state);
    default:
      return true;
  }
}
