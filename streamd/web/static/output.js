// Adding an output, whose secret goes to the credential store first.

import { ask, pathOf, Refused } from "./api.js";
import { credentialName } from "./format.js";

/** What tells the credential of this output from all others, also from one that an output of the same name left. */
export function newToken() {
  return [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function refuseKnown(store, route, id) {
  if (!store.things.has(`${route}/${id}`)) return;
  throw new Refused(409, { detail: `route "${route}" has an output "${id}" already; edit that one, or take another name` });
}

const WITHOUT_APPLICATION = /^rtmps?:\/\/[^/]*\/?$/i;

/**
 * The steps of adding an output. Its secret does not change them, and is not in the store yet; an address that only a
 * stream key completes would be refused without, and is not asked about.
 */
export async function planOutput(store, route, { id, url, secret }) {
  refuseKnown(store, route, id);
  if (secret && WITHOUT_APPLICATION.test(url)) return [];
  return (await ask("POST", `${pathOf(route)}/outputs?dry-run=true`, { id, url })).steps;
}

/** Add an output. `token` is that of its dialog, so that a second try takes the credential of the first. */
export async function addOutput(store, route, { id, url, secret }, token) {
  refuseKnown(store, route, id);
  const body = { id, url };
  if (secret) {
    const kind = url.startsWith("srt:") ? "passphrase" : "key";
    const name = credentialName(`${route}.${id}`, kind, token);
    await ask("PUT", `/api/credentials/${encodeURIComponent(name)}`, { secret });
    body[kind] = { credential: name };
  }
  await ask("POST", `${pathOf(route)}/outputs`, body);
}
