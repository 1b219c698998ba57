// What happened, in the words of "edgebroker events".

// types are the built-in types of events.
export const types = ["connection", "disconnection", "message", "subscription", "unsubscription", "drop", "refusal", "slow", "bridge", "system"];

// quiet are those that tell of more than a message that has passed.
export const quiet = types.filter((t) => t !== "message");

const longestPayload = 80; // characters

// eventText says in one line what happened. It may hold untrusted text as it came.
export function eventText(e, words) {
  const d = e.data ?? {};
  const as = (user) => (user ? ` as ${user}` : "");
  const dash = (s) => (s ? s : "-");
  switch (e.type) {
    case "connection":
      if (d.bridge) return `${d.clientId}${as(d.username)}${teller(d)}`;
      return `${d.clientId} from ${d.remote}${as(d.username)} (MQTT ${d.protocol}, listener ${d.listener}, keep alive ${d.keepAlive ? words.span(d.keepAlive) : "off"})`;
    case "disconnection":
      if (d.bridge) return `${d.clientId}${as(d.username)}: ${d.reason}${teller(d)}`;
      return `${d.clientId} from ${d.remote}${as(d.username)}: ${d.reason}${d.error ? ", " + d.error : ""} (after ${words.span(d.duration)}, ${words.count(d.received)} in, ${words.count(d.sent)} out)`;
    case "message":
      return `${d.clientId} ${d.topic} (QoS ${d.qos}${d.retain ? ", retain" : ""}, ${words.size(d.size)})${payload(d)}`;
    case "subscription":
      return `${d.clientId} ${d.filter} (QoS ${d.qos}${d.shared ? ", shared as " + d.shared : ""})`;
    case "unsubscription":
      return `${d.clientId} ${d.filter}`;
    case "drop":
      if (d.others) return `${dash(d.clientId)} ${d.topic} and others: ${d.reason} (${words.amount(d.count, "time")} within 10s)`;
      return `${dash(d.clientId)} ${d.topic}: ${d.reason} (QoS ${d.qos}, from ${dash(d.publisher)}, ${words.amount(d.count, "time")})`;
    case "refusal":
      return `${dash(d.clientId)} ${d.what}${d.topic ? " " + d.topic : ""}: ${d.reason}`;
    case "bridge":
      return `${d.bridge} is ${d.state}${d.why ? ": " + d.why : ""}`;
    case "slow":
      return d.state === "recovered"
        ? `${d.clientId} keeps up again, after ${words.span(d.lasted)}`
        : `${d.clientId} does not keep up: ${words.amount(d.queued, "message")} and ${words.size(d.pending)} wait for it, for ${words.span(d.waited)}`;
    case "system":
      return `${d.what}${d.detail ? " " + d.detail : ""}`;
  }
  return `${e.source} ${JSON.stringify(e.data ?? null)}`;
}

// teller says which uplink knows of a client that is none of this broker's.
function teller(d) {
  return ` (told by uplink ${d.bridge}${d.gateway ? ", at gateway " + d.gateway : ""})`;
}

function payload(d) {
  if (typeof d.payload !== "string") return "";
  const characters = Array.from(d.payload.slice(0, 4 * longestPayload));
  const cut = characters.length > longestPayload || d.payload.length > 4 * longestPayload;
  return `: ${characters.slice(0, longestPayload).join("")}${cut ? "..." : ""}`;
}

// level is how an event is to be marked: "bad", "warn" or "".
export function level(e) {
  const d = e.data ?? {};
  if (e.type === "bridge") return d.state === "down" || d.state === "stalled" ? "bad" : d.state === "up" ? "" : "warn";
  if (e.type === "slow") return d.state === "recovered" ? "" : "warn";
  if (e.type === "drop") return d.reason === "no_subscribers" ? "" : "warn"; // nobody has missed it
  return e.type === "refusal" ? "warn" : "";
}
