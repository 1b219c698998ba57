// What is kept for each client, connected or not.

import { el, name, setAttr, setName, setText, tag } from "./dom.js";
import { Table, only } from "./table.js";
import { search, trouble } from "./dialogs.js";
import { clientDetails, keptFor } from "./client.js";
import { waited } from "./clients.js";
import { Poller } from "../net/poll.js";
import { problem } from "../net/api.js";
import { holding, sorted } from "../model/order.js";
import { format } from "../model/route.js";
import { visible } from "../model/safe.js";
import { words } from "../model/words.js";

const which = [["all", "All"], ["absent", "Of absent clients"], ["waiting", "With queued messages"]];

export function sessions(ctx) {
  let list = null, wanted = "", shown = "all";
  const said = el("p", { class: "said" });
  const wrong = el("p", { class: "said trouble", hidden: true });
  const state = (c) => (c.protocol === "" && c.id.startsWith("$bridge/") ? "uplink" : c.connected ? "connected" : "absent");
  const values = {
    id: (c) => c.id, state, queued: (c) => c.queued.messages, bytes: (c) => c.queued.bytes, inflight: (c) => c.inflight,
    waited: (c) => c.waited, subscriptions: (c) => c.subscriptions, expiry: (c) => c.sessionExpiry, dropped: (c) => c.dropped,
  };
  const table = new Table({
    caption: "Sessions", nothing: "…", keyOf: (c) => c.id, levelOf: (c) => (c.slow ? "warn" : null), sort: { key: "queued", down: true }, onSort: () => draw(),
    columns: [
      { key: "id", title: "Session", class: "fill", down: false, fill: (cell, c) => {
        const link = only(cell, () => el("a", {}, name("")));
        setAttr(link, "href", format("sessions", c.id));
        setName(link.firstChild, c.id);
      } },
      { key: "state", title: "Client", down: false, fill: (cell, c) => {
        const t = only(cell, () => tag("", "none"));
        setText(t, state(c));
        setAttr(t, "data-level", c.connected ? "good" : "none");
      } },
      { key: "queued", title: "Queued", class: "r", down: true, hint: "messages that wait for it", text: (c) => words.count(c.queued.messages) },
      { key: "bytes", title: "Bytes", class: "r p2", down: true, hint: "memory charged for what waits, or is not acknowledged", text: (c) => words.size(c.queued.bytes) },
      { key: "inflight", title: "In flight", class: "r p3", down: true, hint: "sent, and not yet acknowledged", text: (c) => words.count(c.inflight) },
      { key: "waited", title: "Waited", class: "r p2", down: true, hint: "for how long the oldest queued message has waited", text: waited },
      { key: "subscriptions", title: "Subscriptions", class: "r p3", down: true, text: (c) => words.count(c.subscriptions) },
      { key: "dropped", title: "Dropped", class: "r p2", down: true, hint: "deliveries that were lost", text: (c) => words.count(c.dropped) },
      { key: "expiry", title: "Kept", class: "r p3", down: true, hint: "for how long after its connection", text: keptFor },
    ],
  });
  const input = search("Filter by client or user", (text) => {
    wanted = text;
    table.first();
    draw();
  });
  const choice = el("select", { "aria-label": "Which sessions", on: { change: (e) => {
    shown = e.target.value;
    table.first();
    draw();
  } } }, ...which.map(([value, text]) => el("option", { value, text })));
  const more = clientDetails(ctx, () => ctx.go("sessions"));
  const poller = new Poller({
    interval: 3000,
    ask: (signal) => ctx.api.get("/v1/clients", signal),
    take(all) {
      list = all;
      trouble(wrong, "");
      draw();
    },
    fail: (e) => trouble(wrong, `This list is not up to date: ${problem(e)}.`),
  });

  function draw() {
    if (!list) return;
    const some = list.filter((c) => (shown === "absent" ? state(c) === "absent" : shown === "waiting" ? c.queued.messages > 0 : true));
    const found = holding(some, wanted, (c) => [visible(c.id), visible(c.username ?? "")]);
    const of = (which) => words.count(list.filter((c) => state(c) === which).length);
    setText(said, `${found.length === list.length ? "" : `${words.count(found.length)} of `}${words.amount(list.length, "session")}, ${of("absent")} kept for absent clients, ${of("uplink")} of uplinks`);
    table.show(sorted(found, values[table.sort.key], (c) => c.id, table.sort.down), ctx.now(),
      list.length === 0 ? "There is no session: nobody is connected, and nothing is kept for anybody." : "No session is like that.");
  }

  return {
    title: "Sessions",
    root: el("div", {}, el("div", { class: "list-head" }, el("h1", { text: "Sessions" }), choice, input), said, wrong, table.root),
    enter(item) {
      poller.start();
      if (item !== null) more.open(item);
      else more.close();
    },
    leave() {
      poller.stop();
      more.close();
    },
    update() {},
  };
}
