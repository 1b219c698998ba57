// One client in full, and how it is disconnected.

import { changed, el, facts, name, setName, tag } from "./dom.js";
import { Table, only } from "./table.js";
import { confirmed, details, notice } from "./dialogs.js";
import { Poller } from "../net/poll.js";
import { problem } from "../net/api.js";
import { part, visible } from "../model/safe.js";
import { format } from "../model/route.js";
import { words } from "../model/words.js";

const never = 4294967295; // seconds of a session that does not expire

// clientDetails shows one client in a dialog while it is open. away is called when it
// is closed.
export function clientDetails(ctx, away) {
  const body = el("div");
  let id = null;
  const table = new Table({
    caption: "Subscriptions", nothing: "It has subscribed to nothing.", keyOf: (f) => f.filter,
    columns: [
      { key: "filter", title: "Subscription", class: "fill", fill: (cell, f) => setName(only(cell, () => name("")), f.filter, 200) },
      { key: "qos", title: "QoS", class: "r", text: (f) => String(f.qos) },
    ],
  });
  const upper = el("div");
  const actions = el("div", { class: "choices" });
  body.append(upper, el("h3", { text: "Subscriptions" }), table.root, actions);

  const poller = new Poller({
    interval: 2000,
    ask: (signal) => ctx.api.get(`/v1/client?id=${part(id)}`, signal),
    take(c) {
      if (!changed(upper, c)) return;
      upper.replaceChildren(facts(clientFacts(c, ctx.now())));
      table.show(c.filters ?? [], ctx.now());
      act(c);
    },
    fail(e) {
      changed(upper, null);
      upper.replaceChildren(el("p", { class: "said trouble", text: e.status === 404 ? "There is no such client any more, and no session of it." : problem(e) }));
      actions.replaceChildren();
    },
  });

  function act(c) {
    const wanted = ctx.isAdmin() && c.connected && c.protocol !== "";
    const events = actions.querySelector("a") ?? el("a", { href: format("events", id), text: "Events of this client" });
    events.href = format("events", c.id);
    const button = actions.querySelector("button");
    if (actions.firstChild && wanted === Boolean(button)) return;
    actions.replaceChildren(events, ...(wanted ? [el("button", { type: "button", class: "danger", text: "Kick", on: { click: () => kick(ctx, c, () => poller.start()) } })] : []));
  }

  return {
    open(which) {
      if (id === which) return;
      id = which;
      changed(upper, null);
      upper.replaceChildren(el("p", { class: "muted", text: "…" }));
      actions.replaceChildren();
      table.show([], ctx.now());
      details.open([name(id, 300, "name wrap")], body, () => {
        poller.stop();
        id = null;
        away();
      });
      poller.start();
    },
    close() {
      if (id === null) return;
      id = null;
      poller.stop();
      details.close();
    },
  };
}

// kick asks, and disconnects a client. done is called when that is over.
export async function kick(ctx, c, done) {
  const yes = await confirmed({
    title: ["Kick ", name(c.id, 200, "name wrap"), "?"],
    text: `It is disconnected${c.remote ? ` from ${visible(c.remote, 60)}` : ""}, and may come back at once.`,
    yes: "Kick",
  });
  if (!yes) return;
  try {
    await ctx.api.post(`/v1/client/kick?id=${part(c.id)}`);
    notice("Kicked ", name(c.id, 60));
  } catch (e) {
    notice("Not kicked: ", problem(e));
  }
  done();
}

function clientFacts(c, now) {
  const since = c.connectedAt ? `${words.span((now - Date.parse(c.connectedAt)) / 1000)}, since ${words.at(new Date(c.connectedAt))}` : "";
  return [
    ["state", c.slow ? tag("does not keep up", "warn") : c.connected ? tag("connected", "good") : tag("not connected", "none")],
    c.connected && c.connectedAt ? ["for", since] : null,
    c.username ? ["user", name(c.username, 200)] : null,
    c.remote ? ["remote", `${visible(c.remote, 100)} on ${visible(c.listener, 60)}`] : null,
    c.protocol ? ["protocol", `MQTT ${visible(c.protocol, 20)}, keep alive ${c.keepAlive ? words.span(c.keepAlive) : "off"}`] : null,
    ["session", expiry(c)],
    ["in", `${words.amount(c.received.messages, "message")}, ${words.size(c.received.payloadBytes)} of payload; ${words.size(c.receivedBytes)} on the wire`],
    ["out", `${words.amount(c.sent.messages, "message")}, ${words.size(c.sent.payloadBytes)} of payload; ${words.size(c.sentBytes)} on the wire`],
    ["queued", `${words.amount(c.queued.messages, "message")}, ${words.size(c.queued.bytes)}; ${words.count(c.inflight)} in flight`],
    ["waited", c.waited >= 1 ? `${c.waitedAtLeast ? "at least " : ""}${words.span(c.waited)}` : "–"],
    ["pending", `${words.size(c.pending)} that the network has not taken; ${words.amount(c.stalls, "stall")}`],
    ["dropped", words.amount(c.dropped, "delivery", "deliveries")],
  ];
}

// keptFor says in a word for how long after its connection a session is kept.
export function keptFor(c) {
  if (c.sessionExpiry === 0) return "–";
  return c.sessionExpiry === never ? "for ever" : words.span(c.sessionExpiry);
}

// expiry says for how long a session is kept.
function expiry(c) {
  if (c.sessionExpiry === 0) return "ends with the connection";
  return c.sessionExpiry === never ? "kept for ever" : `kept for ${words.span(c.sessionExpiry)} after the connection`;
}
