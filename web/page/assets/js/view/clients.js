// Who is connected, and what flows to and from each.

import { el, name, setAttr, setName, setText, setTime } from "./dom.js";
import { Table, itemOf, only } from "./table.js";
import { search, trouble } from "./dialogs.js";
import { clientDetails, kick } from "./client.js";
import { Poller } from "../net/poll.js";
import { problem } from "../net/api.js";
import { Meter, roughly } from "../model/rates.js";
import { holding, sorted } from "../model/order.js";
import { format } from "../model/route.js";
import { visible } from "../model/safe.js";
import { words } from "../model/words.js";

const interval = 2000; // milliseconds

export function clients(ctx) {
  const flows = new Meter();
  let list = null, wanted = "";
  const said = el("p", { class: "said" });
  const wrong = el("p", { class: "said trouble", hidden: true });
  const rate = (c, i) => flows.perSecond(c.id)?.[i] ?? null;
  // by sorts by the rate one way, and of those that are equal by that the other way. While
  // no rate is known totals count.
  const by = (first, second) => (c) => {
    const r = flows.perSecond(c.id) ?? (flows.ready ? [0, 0] : [c.received.messages, c.sent.messages]);
    const step = (v) => Math.max(-40, roughly(v)) + 40;
    return step(r[first]) * 1000 + step(r[second]);
  };
  const values = {
    id: (c) => c.id,
    in: by(0, 1),
    out: by(1, 0),
    queued: (c) => c.queued.messages,
    waited: (c) => c.waited,
    dropped: (c) => c.dropped,
    totalIn: (c) => c.received.messages,
    totalOut: (c) => c.sent.messages,
    bytes: (c) => c.receivedBytes + c.sentBytes,
    stalls: (c) => c.stalls,
    for: (c) => (c.connectedAt ? -Date.parse(c.connectedAt) : 0),
    user: (c) => c.username ?? "",
    remote: (c) => c.remote ?? "",
  };
  const columns = [
    { key: "id", title: "Client", class: "fill", down: false, fill: (cell, c) => {
      const link = only(cell, () => el("a", {}, name("")));
      setAttr(link, "href", format("clients", c.id));
      setName(link.firstChild, c.id);
    } },
    { key: "in", title: "In/s", class: "r", down: true, hint: "messages per second from the client", text: (c) => words.rate(rate(c, 0)) },
    { key: "out", title: "Out/s", class: "r", down: true, hint: "messages per second to the client", text: (c) => words.rate(rate(c, 1)) },
    { key: "queued", title: "Queued", class: "r", down: true, hint: "messages that wait for it", text: (c) => words.count(c.queued.messages) },
    { key: "waited", title: "Waited", class: "r p2", down: true, hint: "for how long the oldest of them has waited", text: waited },
    { key: "dropped", title: "Dropped", class: "r p2", down: true, hint: "deliveries to it that were lost", text: (c) => words.count(c.dropped) },
    { key: "totalIn", title: "In", class: "r p3", down: true, hint: "messages from it since it has connected", text: (c) => words.count(c.received.messages) },
    { key: "totalOut", title: "Out", class: "r p3", down: true, hint: "messages to it", text: (c) => words.count(c.sent.messages) },
    { key: "bytes", title: "Bytes", class: "r p4", down: true, hint: "both ways, on the wire", text: (c) => words.size(c.receivedBytes + c.sentBytes) },
    { key: "stalls", title: "Stalls", class: "r p4", down: true, hint: "how often the network has not taken for a while what was sent", text: (c) => words.count(c.stalls) },
    { key: "for", title: "For", class: "r p2", down: true, hint: "connected for that long", fill: (cell, c, now) => {
      const t = only(cell, () => el("time"));
      if (!c.connectedAt) { // a part of the broker, as an uplink is
        setText(t, c.connected ? "inside" : "");
        return;
      }
      setTime(t, c.connectedAt, now);
      setText(t, words.span((now - Date.parse(c.connectedAt)) / 1000));
    } },
    { key: "user", title: "User", class: "p4", down: false, fill: (cell, c) => setName(only(cell, () => name("")), c.username ?? "", 24) },
    { key: "remote", title: "Remote", class: "p3", down: false, fill: (cell, c) => setName(only(cell, () => name("")), c.remote ?? "", 40) },
  ];
  if (ctx.isAdmin()) {
    columns.push({ key: "kick", title: "", name: "Disconnect", class: "act p2", fill: (cell, c) => {
      const button = only(cell, () => el("button", { type: "button", text: "Kick", on: { click: (e) => kick(ctx, itemOf(e.target), () => poller.start()) } }));
      setAttr(button, "aria-label", `Kick ${visible(c.id, 100)}`);
    } });
  }
  const table = new Table({
    caption: "Connected clients", columns, nothing: "…", keyOf: (c) => c.id, levelOf: (c) => (c.slow ? "warn" : null),
    sort: { key: "in", down: true }, onSort: () => draw(),
  });
  const input = search("Filter by client, user, address", (text) => {
    wanted = text;
    table.first();
    draw();
  });
  const more = clientDetails(ctx, () => ctx.go("clients"));

  const poller = new Poller({
    interval,
    ask: (signal) => ctx.api.get("/v1/clients", signal),
    take(all) {
      // An uplink's session speaks no protocol: it is listed with the uplinks.
      list = all.filter((c) => c.connected && c.protocol !== "");
      flows.read(performance.now() / 1000, new Map(list.map((c) => [c.id, [c.received.messages, c.sent.messages]])));
      trouble(wrong, "");
      draw();
    },
    fail: (e) => trouble(wrong, `This list is not up to date: ${problem(e)}.`),
  });

  function draw() {
    if (!list) return;
    const found = holding(list, wanted, (c) => [visible(c.id), visible(c.username ?? ""), visible(c.remote ?? "")]);
    const slow = list.filter((c) => c.slow).length;
    setText(said, `${found.length === list.length ? "" : `${words.count(found.length)} of `}${words.amount(list.length, "client")} connected${slow ? `, ${words.count(slow)} of them ${slow === 1 ? "does" : "do"} not keep up (marked)` : ""}`);
    table.show(sorted(found, values[table.sort.key], (c) => c.id, table.sort.down), ctx.now(),
      list.length === 0 ? "No client is connected." : "No client has that in its name, user or address.");
  }

  return {
    title: "Clients",
    root: el("div", {}, el("div", { class: "list-head" }, el("h1", { text: "Clients" }), input), said, wrong, table.root),
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

// waited is for how long the oldest message of a client has waited, from a second on.
export function waited(c) {
  if (c.waitedAtLeast) return `>${words.span(c.waited)}`;
  return c.waited >= 1 ? words.span(c.waited) : "–";
}
