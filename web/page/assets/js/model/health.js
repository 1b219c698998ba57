// Whether a broker is healthy and, if not, what to look at.

import { visible } from "./safe.js";
import { brokerNow } from "./rates.js";

// findings lists what is wrong, the worst first: {level: "bad" or "warn", text, view},
// where view is the tab that says more. Texts are safe to show.
export function findings(snap, words) {
  const list = [...storage(snap, words), ...memory(snap), ...uplinks(snap, words), ...certificates(snap, words), ...losses(snap, words), ...sinks(snap, words)];
  return [...list.filter((f) => f.level === "bad"), ...list.filter((f) => f.level !== "bad")];
}

// verdict is findings in one word and a level.
export function verdict(list) {
  const bad = list.filter((f) => f.level === "bad").length;
  if (bad > 0) return { level: "bad", text: bad === 1 ? "1 problem" : `${bad} problems` };
  if (list.length > 0) return { level: "warn", text: list.length === 1 ? "1 warning" : `${list.length} warnings` };
  return { level: "good", text: "healthy" };
}

function storage(snap, words) {
  const st = snap.storage;
  const list = [];
  if (st.state === "full") list.push(bad(`The store is full: messages that must be stored are refused. ${visible(st.reason, 200)}`));
  if (st.state === "failed") list.push(bad(`The store has failed: nothing that must be stored is acknowledged. ${visible(st.reason, 200)}`));
  if (st.writeBudget?.exceeded) list.push(warn(`More has been written today than the write budget allows: ${words.size(st.writeBudget.usedBytes)} of ${words.size(st.writeBudget.dailyBytes)}.`));
  const r = st.recovered;
  if (r && (r.damage > 0 || r.lostRecords > 0 || r.lostMessages > 0)) {
    list.push(warn(`The store was damaged at the start: ${words.amount(r.damage, "place")}, ${words.amount(r.lostRecords, "record")} and ${words.amount(r.lostMessages, "message")} lost.`));
  }
  return list;
}

function memory(snap) {
  const level = snap.budget.level;
  if (level === "severe" || level === "shedding") return [bad(`Memory is short (${level}): the broker gives things up to stay within its budget.`)];
  if (snap.budget.pressure > 0) return [warn(`Memory is getting short (${visible(level, 40)}).`)];
  return [];
}

// uplinkLevel is how the state of an uplink is to be marked. The first attempt to connect
// is no problem yet.
export function uplinkLevel(b) {
  if (b.state === "up") return "good";
  return b.state === "paused" || (b.state === "connecting" && b.attempts <= 1) ? "warn" : "bad";
}

function uplinks(snap, words) {
  const list = [];
  for (const b of snap.bridges ?? []) {
    const name = visible(b.name, 60);
    const why = b.why ? `: ${visible(b.why, 200)}` : "";
    const since = words.span((brokerNow(snap) - Date.parse(b.since)) / 1000);
    if (b.state === "paused") list.push(warn(`Uplink ${name} has been paused for ${since}.`, "bridges"));
    else if (uplinkLevel(b) === "warn") list.push(warn(`Uplink ${name} is connecting.`, "bridges"));
    else if (uplinkLevel(b) === "bad") list.push(bad(`Uplink ${name} has been ${visible(b.state, 20)} for ${since}${why}.`, "bridges"));
    if (b.deadLetters > 0) list.push(warn(`Uplink ${name} has ${words.amount(b.deadLetters, "dead letter")}: messages that the far side never takes.`, "bridges"));
  }
  return list;
}

function certificates(snap, words) {
  const list = [];
  for (const c of snap.certificates ?? []) {
    const what = `${visible(c.role, 40).replace("_", " ")} of listener ${visible(c.listener, 60)} (${visible(c.subject, 100)})`;
    const left = (Date.parse(c.notAfter) - brokerNow(snap)) / 1000;
    if (c.state === "expired") list.push(bad(`The ${what} expired ${words.span(-left)} ago.`));
    if (c.state === "expiring") list.push(warn(`The ${what} expires in ${words.span(left)}.`));
  }
  return list;
}

function losses(snap, words) {
  const lost = snap.rates.lost["1min"];
  return lost * 60 >= 1 ? [warn(`Messages are being lost: ${words.rate(lost)} a second on average of the last minute.`, "drops")] : [];
}

function sinks(snap, words) {
  return (snap.eventSinks ?? [])
    .filter((s) => s.dropped > 0)
    .map((s) => warn(`Event sink ${visible(s.name, 60)} has given up ${words.amount(s.dropped, "event")}.`));
}

function bad(text, view = null) {
  return { level: "bad", text: text.trim(), view };
}

function warn(text, view = null) {
  return { level: "warn", text: text.trim(), view };
}
