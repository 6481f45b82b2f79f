// What the page asks of the gateway.

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the gateway answered with ${status}`);
    this.status = status;
    this.diagnostics = problem.diagnostics ?? [];
  }
}

/** Ask, and return the document that comes back. */
export async function ask(method, path, body) {
  const options = { method, headers: {}, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, { detail: "the gateway cannot be reached" });
  }
  const text = await answer.text();
  let found = {};
  try {
    found = text ? JSON.parse(text) : {};
  } catch {
    found = { detail: `the answer is no JSON (${answer.status})` };
  }
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
}

/** The path of a route or an output. */
export function pathOf(address) {
  const [route, output] = address.split("/").map(encodeURIComponent);
  return output === undefined ? `/api/inputs/${route}` : `/api/inputs/${route}/outputs/${output}`;
}

/** Follow the daemon for as long as the page is open; it tells what comes, and whether the connection stands. */
export function follow(store, onEvent, onConnection) {
  let stopped = false;
  let socket;
  let pause = 500;
  let alive;

  function watch() {
    clearTimeout(alive);
    // The gateway says something every fifteen seconds at least.
    alive = setTimeout(() => socket?.close(), 40_000);
  }

  function open() {
    if (stopped) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const since = store.last ? `?since=${encodeURIComponent(store.last)}` : "";
    socket = new WebSocket(`${scheme}//${location.host}/api/live${since}`);
    watch();
    socket.onopen = () => {
      pause = 500;
    };
    socket.onmessage = (message) => {
      watch();
      onConnection(true);
      onEvent(JSON.parse(message.data));
    };
    socket.onclose = (event) => {
      clearTimeout(alive);
      if (stopped) return;
      onConnection(false, event.code);
      setTimeout(open, pause);
      pause = Math.min(2 * pause, 15_000);
    };
  }

  open();
  return () => {
    stopped = true;
    clearTimeout(alive);
    socket?.close();
  };
}
