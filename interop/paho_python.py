"""Drives python's paho-mqtt 1.x for the matrix; driver.go has the protocol."""

import json
import queue
import sys
import threading

import paho.mqtt
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
PATIENCE = 15  # seconds that the broker has for an answer
NAMES = {  # the simple properties: driver.go's name, the library's
    "responseTopic": "ResponseTopic",
    "contentType": "ContentType",
    "expiry": "MessageExpiryInterval",
    "alias": "TopicAlias",
}

output = threading.Lock()


def send(line):
    with output:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def to_properties(kind, p):
    out = Properties(kind)
    for ours, theirs in NAMES.items():
        if p.get(ours):
            setattr(out, theirs, p[ours])
    if p.get("correlationData"):
        out.CorrelationData = p["correlationData"].encode()
    if p.get("text"):
        out.PayloadFormatIndicator = 1
    for pair in p.get("user", []):
        out.UserProperty = tuple(pair)
    return out


def from_properties(p):
    got = {ours: getattr(p, theirs) for ours, theirs in NAMES.items() if hasattr(p, theirs)}
    if hasattr(p, "CorrelationData"):
        got["correlationData"] = p.CorrelationData.decode()
    got["text"] = getattr(p, "PayloadFormatIndicator", 0) == 1
    got["user"] = [list(pair) for pair in getattr(p, "UserProperty", [])]
    got["ids"] = list(getattr(p, "SubscriptionIdentifier", []))
    return got


class Client:
    """One client; each connect is a new client of the library's."""

    def __init__(self, name):
        self.name = name
        self.client = None

    def connect(self, call):
        o = call["options"]
        self.v5 = o["version"] == "5"
        clean = {} if self.v5 else {"clean_session": not o["kept"]}
        transport = "websockets" if o["transport"] == "ws" else "tcp"
        c = mqtt.Client(client_id=o["id"], protocol=VERSIONS[o["version"]], transport=transport, **clean)
        self.client, self.answers = c, queue.Queue()
        c.reconnect_delay_set(3600, 3600)
        c.max_inflight_messages_set(100)
        c.on_message = self.on_message
        c.on_connect = lambda _c, _u, flags, code, *_: self.answers.put((int(getattr(code, "value", code)), flags))
        c.on_subscribe = lambda _c, _u, _mid, codes, *_: self.answers.put([int(getattr(x, "value", x)) for x in codes])
        will = o.get("will")
        if will:
            properties = to_properties(PacketTypes.WILLMESSAGE, will["properties"]) if self.v5 else None
            c.will_set(will["topic"], will["payload"], will["qos"], will["retain"], properties)
        host, port = o["at"][o["transport"]].rsplit(":", 1)
        if self.v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if o["kept"] else 0
            c.connect(host, int(port), clean_start=not o["kept"], properties=properties)
        else:
            c.connect(host, int(port))
        c.loop_start()
        code, flags = self.answers.get(timeout=PATIENCE)
        if code != 0:
            raise RuntimeError(f"connect was answered with {code}")
        return {"present": bool(flags["session present"])}

    def on_message(self, _client, _userdata, m):
        properties = from_properties(m.properties) if self.v5 else {}
        send({"client": self.name, "message": {"topic": m.topic, "payload": m.payload.decode(), "qos": m.qos,
                                               "retain": bool(m.retain), "properties": properties}})

    def subscribe(self, call):
        want = [f["qos"] for f in call["filters"]]
        if self.v5:
            properties = Properties(PacketTypes.SUBSCRIBE)
            if call.get("id"):
                properties.SubscriptionIdentifier = call["id"]
            filters = [(f["filter"], SubscribeOptions(f["qos"])) for f in call["filters"]]
            result, _ = self.client.subscribe(filters, properties=properties)
        else:
            result, _ = self.client.subscribe([(f["filter"], f["qos"]) for f in call["filters"]])
        if result != mqtt.MQTT_ERR_SUCCESS:
            raise RuntimeError(mqtt.error_string(result))
        granted = self.answers.get(timeout=PATIENCE)
        if granted != want:
            raise RuntimeError(f"granted {granted}, not {want}")

    def publish(self, call):
        sent = []
        for m in call["messages"]:
            properties = to_properties(PacketTypes.PUBLISH, m["properties"]) if self.v5 else None
            sent.append(self.client.publish(m["topic"], m["payload"], m["qos"], m["retain"], properties))
        for info in sent:
            info.wait_for_publish(PATIENCE)
            if not info.is_published():
                raise RuntimeError("publish was not acknowledged")

    def disconnect(self, _call):
        if self.client is not None:
            self.client.disconnect()
            self.client.loop_stop()

    def kill(self, _call):
        # Without its thread the library notices nothing and says nothing.
        self.client.loop_stop()
        self.client.socket().close()
        self.client = None


def perform(client, call):
    try:
        send({"call": call["call"], **(getattr(client, call["do"])(call) or {})})
    except queue.Empty:
        send({"call": call["call"], "error": "the broker did not answer"})
    except Exception as err:  # the matrix shows it  # pylint: disable=broad-except
        send({"call": call["call"], "error": f"{type(err).__name__}: {err}"})


def main():
    send({"library": {"name": f"python paho-mqtt {paho.mqtt.__version__}", "versions": list(VERSIONS),
                      "transports": ["tcp", "ws"], "severalIDs": True}})
    clients = {}
    for line in sys.stdin:
        call = json.loads(line)
        client = clients.setdefault(call["client"], Client(call["client"]))
        # A client's calls come one after another, those of others meanwhile.
        threading.Thread(target=perform, args=(client, call), daemon=True).start()


main()
