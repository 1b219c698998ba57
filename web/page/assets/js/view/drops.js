// What was not delivered: why, and to whom.

import { el, name, setAttr, setName, setText, setTime } from "./dom.js";
import { Table, only } from "./table.js";
import { search, trouble } from "./dialogs.js";
import { Poller } from "../net/poll.js";
import { problem } from "../net/api.js";
import { Meter, brokerNow } from "../model/rates.js";
import { holding, sorted } from "../model/order.js";
import { explain } from "../model/reasons.js";
import { format } from "../model/route.js";
import { visible } from "../model/safe.js";
import { words } from "../model/words.js";

export function drops(ctx) {
  let list = null, wanted = "", reason = "";
  const flows = new Meter();
  const said = el("p", { class: "said" });
  const wrong = el("p", { class: "said trouble", hidden: true });
  let total = 0;
  const why = new Table({
    caption: "Messages not delivered, by reason", nothing: "Nothing was dropped since the start of the broker.", keyOf: (r) => r.reason,
    columns: [
      { key: "reason", title: "Reason", fill: (cell, r) => setName(only(cell, () => name("")), r.reason, 60) },
      { key: "rate", title: "Per s", class: "r", hint: "now", text: (r) => words.rate(flows.perSecond(r.reason)?.[0] ?? null) },
      { key: "count", title: "Messages", class: "r", text: (r) => words.count(r.count) },
      { key: "share", title: "Share", class: "r p2", text: (r) => words.share(r.count, total) },
      { key: "bar", title: "", name: "Share as a bar", class: "p3", fill: (cell, r) => {
        const bar = only(cell, () => el("span", { class: "bar" }, el("i")));
        bar.firstChild.className = r.reason === "no_subscribers" ? "quiet" : "";
        bar.firstChild.style.width = `${total > 0 ? (100 * r.count) / total : 0}%`; // through the CSSOM, which the policy allows
      } },
      { key: "meaning", title: "The message was not delivered because", class: "wrap p2", text: (r) => explain(r.reason) || "–" },
    ],
  });
  const values = { client: (l) => l.client, topic: (l) => l.topic, reason: (l) => l.reason, count: (l) => l.count, last: (l) => Date.parse(l.last) };
  const whom = new Table({
    caption: "Messages not delivered, by client", nothing: "…", keyOf: (l) => `${l.client}\0${l.topic}\0${l.reason}`, sort: { key: "count", down: true }, onSort: () => draw(),
    columns: [
      { key: "client", title: "Client", class: "fill", down: false, fill: (cell, l) => {
        const link = only(cell, () => el("a", {}, name("")));
        setAttr(link, "href", l.client ? format("sessions", l.client) : null);
        if (l.client) setName(link.firstChild, l.client, 100);
        else setText(link.firstChild, "nobody in particular");
      } },
      { key: "topic", title: "Topics", class: "p2 clip", down: false, hint: "their first two levels", fill: (cell, l) => setName(only(cell, () => name("")), l.topic ? `${l.topic}` : "", 60) },
      { key: "reason", title: "Reason", down: false, fill: (cell, l) => {
        setName(only(cell, () => name("")), l.reason, 40);
        setAttr(cell, "title", explain(l.reason) || null);
      } },
      { key: "count", title: "Messages", class: "r", down: true, text: (l) => words.count(l.count) },
      { key: "last", title: "Last", class: "r p2", down: true, hint: "about when the last of them was lost", fill: (cell, l, now) => setTime(only(cell, () => el("time")), l.last, now) },
    ],
  });
  const input = search("Filter by client or topic", (text) => {
    wanted = text;
    whom.first();
    draw();
  });
  const choice = el("select", { "aria-label": "Reason", on: { change: (e) => {
    reason = e.target.value;
    whom.first();
    draw();
  } } }, el("option", { value: "", text: "Any reason" }));
  const poller = new Poller({
    interval: 3000,
    ask: (signal) => ctx.api.get("/v1/drops", signal),
    take(all) {
      list = all;
      trouble(wrong, "");
      const known = new Set([...choice.options].map((o) => o.value));
      for (const r of [...new Set(all.map((l) => l.reason))].sort()) if (!known.has(r)) choice.append(el("option", { value: r, text: visible(r, 40) }));
      draw();
    },
    fail: (e) => trouble(wrong, `This list is not up to date: ${problem(e)}.`),
  });

  function draw() {
    if (!list) return;
    const found = holding(list.filter((l) => reason === "" || l.reason === reason), wanted, (l) => [visible(l.client), visible(l.topic)]);
    setText(said, `${words.amount(found.reduce((n, l) => n + l.count, 0), "message")}. The flight recorder knows more: edgebroker drops --since 2h`);
    whom.show(sorted(found, values[whom.sort.key], (l) => `${l.client}\0${l.topic}`, whom.sort.down), ctx.now(),
      list.length === 0 ? "Nobody has missed anything since the start of the broker." : "Nothing is like that.");
  }

  return {
    title: "Drops",
    root: el("div", {},
      el("div", { class: "list-head" }, el("h1", { text: "Drops" })),
      el("div", { class: "group" }, el("h2", { text: "Why" }), why.root),
      el("div", { class: "group" }, el("div", { class: "list-head" }, el("h2", { text: "For whom" }), choice, input), said, wrong, whom.root)),
    enter: () => poller.start(),
    leave: () => poller.stop(),
    update(snap) {
      const all = Object.entries(snap.dropped.byReason ?? {}).filter(([, n]) => n > 0).map(([r, count]) => ({ reason: r, count }));
      total = snap.dropped.total;
      flows.read(snap.uptime, new Map(all.map((r) => [r.reason, [r.count]])));
      why.show(sorted(all, (r) => r.count, (r) => r.reason, true), brokerNow(snap));
    },
  };
}
