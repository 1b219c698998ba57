// Why messages are not delivered, as docs/EVENTS.md says it.

export const reasons = {
  no_subscribers: "nobody had subscribed to its topic; nobody has missed it",
  queue_full: "the queue of the session was full, or that of all",
  qos0_msg: "it had QoS 0, and the client was not connected",
  slow_consumer: "it had QoS 0, and the client did not take what waited for it",
  expired: "its message expiry interval was over, or its time to live for an uplink",
  packet_too_large: "it was larger than the client takes (Maximum Packet Size)",
  discarded: "the session ended while it waited",
  refused_by_client: "the client has answered it with a failure",
  not_stored: "it could not be stored; its publisher was not told that it was",
  store_full: "the store was full, and the session's rule is to drop",
  store_damaged: "what was stored of it cannot be read any more",
  not_authorized: "the client may not have it any more",
  superseded: "a newer message on its topic waited for the uplink as well, which takes only the latest",
  memory_pressure: "it had QoS 0, the client did not keep up, and memory was short",
};

// explain says what a reason means, "" for one that is not known here.
export function explain(reason) {
  return Object.hasOwn(reasons, reason) ? reasons[reason] : "";
}
