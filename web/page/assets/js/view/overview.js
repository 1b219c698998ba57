// Is it healthy, how much flows, what is lost, who is slow.

import { changed, el, facts, name, setAttr, setName, setText, setTime, tag } from "./dom.js";
import { Chart } from "./chart.js";
import { Table } from "./table.js";
import { Poller } from "../net/poll.js";
import { findings, uplinkLevel } from "../model/health.js";
import { counters, brokerNow } from "../model/rates.js";
import { percentile } from "../model/latency.js";
import { explain } from "../model/reasons.js";
import { visible } from "../model/safe.js";
import { sorted } from "../model/order.js";
import { format } from "../model/route.js";
import { words } from "../model/words.js";

const spans = [["2 min", 120], ["15 min", 900], ["1 h", 3600]]; // what charts show
const slowest = 6; // clients that are named

export function overview(ctx) {
  let span = 900;
  const tiles = makeTiles();
  const list = el("ul", { class: "findings", "aria-label": "What to look at" });
  const write = words.rate;
  const chart = (title, series, options) => new Chart({ title, series, history: ctx.history, span: () => span, sync: "overview", ...options });
  const charts = [
    chart("Messages per second", [{ name: "received", label: "received", key: "in", fill: true }, { name: "sent", label: "sent", key: "out" }], { write }),
    chart("Delivery takes", [{ name: "p50", label: "half under", key: "in" }, { name: "p99", label: "99% under", key: "out" }], { write: words.brief, log: true }),
    chart("Bytes per second", [{ name: "bytesIn", label: "received", key: "in", fill: true }, { name: "bytesOut", label: "sent", key: "out" }], { write: words.size, binary: true }),
    chart("Dropped per second", [{ name: "unheard", label: "nobody subscribed", key: "quiet" }, { name: "lost", label: "lost", key: "lost", fill: true }], { write }),
  ];
  const buttons = spans.map(([text, seconds]) => el("button", {
    type: "button", text, "aria-pressed": String(seconds === span),
    on: { click: () => {
      span = seconds;
      buttons.forEach((b, i) => setAttr(b, "aria-pressed", String(spans[i][1] === span)));
      charts.forEach((c) => c.draw());
    } },
  }));
  const slow = slowPanel(ctx);
  const lost = lostPanel();
  const uplinks = uplinkPanel();
  const broker = el("section", { class: "panel" }, el("h2", { text: "Broker" }), el("div"));
  const root = el("div", {},
    el("div", { class: "list-head" }, el("h1", { text: "Overview" }), el("span", { class: "grow" }), el("div", { class: "span", role: "group", "aria-label": "Charts show the latest" }, ...buttons)),
    list, tiles.root,
    el("div", { class: "charts" }, ...charts.map((c) => c.root)),
    el("div", { class: "panels" }, slow.root, lost.root, uplinks.root, broker));

  return {
    title: "Overview",
    root,
    enter: () => slow.start(),
    leave: () => slow.stop(),
    recolour: () => charts.forEach((c) => (c.forget(), c.draw())),
    update(snap) {
      showFindings(list, findings(snap, words));
      tiles.update(snap, ctx.history);
      charts.forEach((c) => c.draw());
      lost.update(snap);
      uplinks.update(snap);
      const text = brokerFacts(snap);
      if (changed(broker, text)) broker.lastChild.replaceWith(facts(text));
    },
  };
}

function showFindings(list, found) {
  if (!changed(list, found)) return;
  list.hidden = found.length === 0;
  list.replaceChildren(...found.map((f) => el("li", { "data-level": f.level }, el("span", { text: f.text }),
    f.view ? el("a", { href: format(f.view), text: f.view === "drops" ? "Drops" : "Bridges" }) : null)));
}

function makeTiles() {
  const tile = (label, unit, key = null) => {
    const value = el("span");
    const sub = el("dd", { class: "sub" });
    const root = el("div", { class: "tile" }, el("dt", {}, key ? el("span", { class: `key ${key}` }) : null, label), el("dd", { class: "live" }, value, unit ? el("small", { text: unit }) : null), sub);
    return { root, set: (text, below, level = null) => {
      setText(value, text);
      setText(sub, below);
      setAttr(sub, "title", below);
      setAttr(root, "data-level", level);
    } };
  };
  const t = {
    received: tile("Received", "per second", "in"),
    sent: tile("Sent", "per second", "out"),
    lost: tile("Lost", "per second", "lost"),
    delivery: tile("Delivery", "99% under"),
    clients: tile("Clients", "now"),
    queued: tile("Queued", "messages"),
  };
  Object.entries(t).forEach(([key, x]) => (x.root.dataset.tile = key));
  const averages = (r) => `1 min ${words.rate(r["1min"])}, 15 min ${words.rate(r["15min"])}`;
  return {
    root: el("dl", { class: "tiles" }, ...Object.values(t).map((x) => x.root)),
    update(s, history) {
      t.received.set(words.rate(history.latest("received")), averages(s.rates.received));
      t.sent.set(words.rate(history.latest("sent")), averages(s.rates.sent));
      const lost = history.latest("lost");
      t.lost.set(words.rate(lost), `${words.count(counters(s).lost)} since the start`, lost > 0 ? "warn" : null);
      const p50 = history.latest("p50");
      const whole = s.delivery.times ?? [];
      t.delivery.set(words.brief(history.latest("p99")), p50 !== null ? `half under ${words.brief(p50)}` : s.delivery.measured > 0 ? `since the start 99% under ${words.brief(percentile(whole, 99))}` : "none yet");
      t.clients.set(words.count(s.clientCount), `${words.count(s.connections.maximum)} at most, ${words.count(s.connections.refused)} refused`);
      t.queued.set(words.count(s.queued.messages), `${words.size(s.queued.bytes)}, ${words.count(s.queued.inflight)} in flight`);
    },
  };
}

function slowPanel(ctx) {
  const table = new Table({
    caption: "Clients whose oldest message waits longest", nothing: "Nobody: every client takes its messages as they come.",
    keyOf: (c) => c.id, levelOf: (c) => (c.slow ? "warn" : null),
    columns: [
      { key: "id", title: "Client", class: "fill", fill: (cell, c) => {
        if (!cell.firstChild) cell.append(el("a", {}, name("")));
        cell.firstChild.href = format("clients", c.id);
        setName(cell.firstChild.firstChild, c.id, 60);
      } },
      { key: "queued", title: "Queued", class: "r", text: (c) => words.count(c.queued.messages) },
      { key: "waited", title: "Waited", class: "r", text: (c) => words.span(c.waited) },
    ],
  });
  const poller = new Poller({
    interval: 4000,
    ask: (signal) => ctx.api.get(`/v1/clients?sort=latency&top=${slowest}`, signal),
    take: (list) => table.show(list.filter((c) => c.slow || (c.connected && c.waited >= 1)), ctx.now()),
    fail: () => {}, // the banner says so, or the view of clients
  });
  return {
    root: el("section", { class: "panel" }, el("h2", {}, "Who is slow", el("a", { href: "#/clients", text: "All clients" })), ...flat(table)),
    start: () => poller.start(),
    stop: () => poller.stop(),
  };
}

// flat is a table without a frame of its own.
function flat(table) {
  return [table.scroll, table.empty];
}

function lostPanel() {
  const table = new Table({
    caption: "Why messages were dropped", nothing: "Nothing since the start of the broker.",
    keyOf: (r) => r.reason,
    columns: [
      { key: "reason", title: "Reason", class: "fill", fill: (cell, r) => {
        setText(cell, visible(r.reason, 60));
        setAttr(cell, "title", explain(r.reason) || null);
      } },
      { key: "count", title: "Messages", class: "r", text: (r) => words.count(r.count) },
    ],
  });
  return {
    root: el("section", { class: "panel" }, el("h2", {}, "Dropped since the start", el("a", { href: "#/drops", text: "For whom" })), ...flat(table)),
    update(s) {
      const list = Object.entries(s.dropped.byReason ?? {}).filter(([, n]) => n > 0).map(([reason, count]) => ({ reason, count }));
      table.show(sorted(list, (r) => r.count, (r) => r.reason, true).slice(0, 6), brokerNow(s));
    },
  };
}

function uplinkPanel() {
  const table = new Table({
    caption: "Uplinks", nothing: "", keyOf: (b) => b.name, levelOf: (b) => (uplinkLevel(b) === "good" ? null : uplinkLevel(b)),
    columns: [
      { key: "name", title: "Uplink", class: "fill", fill: (cell, b) => setName(cell.firstChild ?? cell.appendChild(name("")), b.name, 60) },
      { key: "state", title: "State", fill: (cell, b) => {
        const t = cell.firstChild ?? cell.appendChild(tag("", "none"));
        setText(t, visible(b.state, 20));
        setAttr(t, "data-level", uplinkLevel(b));
      } },
      { key: "queued", title: "Queued", class: "r", text: (b) => words.count(b.queued.messages) },
      { key: "heard", title: "Heard of", class: "r p3", fill: (cell, b, now) => setTime(cell.firstChild ?? cell.appendChild(el("time")), b.lastHeard, now) },
    ],
  });
  const root = el("section", { class: "panel", hidden: true }, el("h2", {}, "Uplinks", el("a", { href: "#/bridges", text: "Bridges" })), ...flat(table));
  return {
    root,
    update(s) {
      root.hidden = !s.bridges?.length;
      if (s.bridges?.length) table.show(s.bridges, brokerNow(s));
    },
  };
}

// fullness is how full the store is, as "edgebroker stats" reckons: what is reserved for
// writing the state anew is not for messages.
function fullness(st) {
  if (!(st.budgetBytes > 0)) return "";
  const may = st.budgetBytes - (st.reservedBytes ?? 0);
  const percent = st.state === "full" || st.heldBytes >= may ? 100 : Math.round((100 * st.heldBytes) / may);
  return ` of ${words.size(st.budgetBytes)}, ${percent}% full`;
}

function brokerFacts(s) {
  const b = s.budget;
  const st = s.storage;
  return [
    ["version", `${visible(s.version, 60)}, up ${words.span(s.uptime)}`],
    ["sessions", `${words.count(s.sessions.total)}, ${words.count(s.sessions.kept)} kept for absent clients; ${words.amount(s.subscriptions.total, "subscription")}`],
    ["retained", `${words.amount(s.retained.messages, "message")}, ${words.size(s.retained.bytes)}`],
    ["memory", b.bytes > 0 ? `${words.size(b.used)} of ${words.size(b.bytes)} (${visible(b.level, 20)}), ${words.size(s.memory.resident)} resident` : `${words.size(s.memory.resident)} resident`],
    ["storage", st.state === "none" || !st.state ? "none: sessions and messages are kept in memory"
      : `${visible(st.state, 20)}, ${words.size(st.usedBytes)}${fullness(st)}; 99% of syncs under ${words.brief(st.syncP99)}`],
    ["refused", `${words.amount(s.refusals.connect ?? 0, "connection")}, ${words.amount(s.refusals.publish ?? 0, "publish", "publishes")}, ${words.amount(s.refusals.subscribe ?? 0, "subscription")}`],
    ["listeners", (s.listeners ?? []).map((l) => `${visible(l.name, 40)} ${visible(l.address, 60)} (${words.count(l.sockets)})`).join(", ") || "–"],
  ];
}
