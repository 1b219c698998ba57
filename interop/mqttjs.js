// Drives MQTT.js for the matrix; the protocol is described in driver.go. The
// module is found through NODE_PATH.
'use strict'

const mqtt = require('mqtt')
const { createInterface } = require('node:readline')

const versions = { '3.1': 3, '3.1.1': 4, 5: 5 }
const clients = new Map()

const send = (line) => process.stdout.write(JSON.stringify(line) + '\n')

// toProperties and fromProperties translate between driver.go's properties and
// the library's, which has the values of a user property's key in a list.
function toProperties(p) {
  const out = {}
  for (const [key, value] of p.user ?? []) {
    out.userProperties ??= {}
    const list = (out.userProperties[key] ??= [])
    list.push(value)
  }
  if (p.responseTopic) out.responseTopic = p.responseTopic
  if (p.correlationData) out.correlationData = Buffer.from(p.correlationData)
  if (p.contentType) out.contentType = p.contentType
  if (p.text) out.payloadFormatIndicator = true
  if (p.expiry) out.messageExpiryInterval = p.expiry
  if (p.alias) out.topicAlias = p.alias
  return out
}

function fromProperties(p = {}) {
  return {
    user: Object.entries(p.userProperties ?? {}).flatMap(([key, v]) => [v].flat().map((value) => [key, value])),
    responseTopic: p.responseTopic,
    correlationData: p.correlationData?.toString(),
    contentType: p.contentType,
    text: Boolean(p.payloadFormatIndicator),
    expiry: p.messageExpiryInterval,
    ids: [p.subscriptionIdentifier ?? []].flat(),
  }
}

function connect(name, o) {
  const options = {
    clientId: o.id,
    protocolVersion: versions[o.version],
    protocolId: o.version === '3.1' ? 'MQIsdp' : 'MQTT',
    clean: !o.kept,
    reconnectPeriod: 0,
    resubscribe: false,
    connectTimeout: 15000,
  }
  if (o.version === '5') {
    options.properties = { topicAliasMaximum: 10, sessionExpiryInterval: o.kept ? 3600 : 0 }
  }
  if (o.will) {
    const w = o.will
    options.will = { topic: w.topic, payload: Buffer.from(w.payload), qos: w.qos, retain: w.retain }
    if (o.version === '5') options.will.properties = toProperties(w.properties)
  }
  let client
  if (o.transport === 'unix') {
    client = mqtt.connect({ ...options, protocol: 'mqtt+unix', path: o.at.unix })
  } else {
    client = mqtt.connect(o.transport === 'ws' ? `ws://${o.at.ws}/mqtt` : `mqtt://${o.at.tcp}`, options)
  }
  clients.set(name, client)
  client.on('message', (topic, payload, packet) =>
    send({
      client: name,
      message: {
        topic,
        payload: payload.toString(),
        qos: packet.qos,
        retain: packet.retain,
        properties: fromProperties(packet.properties),
      },
    }),
  )
  return new Promise((resolve, reject) => {
    client.once('connect', (connack) => resolve({ present: connack.sessionPresent }))
    client.once('error', reject)
    client.once('close', () => reject(new Error('connection closed')))
  })
}

async function subscribe(client, { id, filters }) {
  const want = {}
  for (const f of filters) want[f.filter] = { qos: f.qos }
  const granted = await client.subscribeAsync(want, id ? { properties: { subscriptionIdentifier: id } } : {})
  for (const g of granted) {
    if (g.qos !== want[g.topic].qos) throw new Error(`${g.topic} was granted ${g.qos}`)
  }
}

async function publish(client, { messages }) {
  const v5 = client.options.protocolVersion === 5
  await Promise.all(
    messages.map((m) =>
      client.publishAsync(m.topic, m.payload, {
        qos: m.qos,
        retain: m.retain,
        ...(v5 ? { properties: toProperties(m.properties) } : {}),
      }),
    ),
  )
}

function kill(client) {
  return new Promise((resolve) => {
    client.once('close', () => resolve())
    client.stream.destroy()
  })
}

async function perform(c) {
  if (c.do === 'connect') return connect(c.client, c.options)
  const client = clients.get(c.client)
  switch (c.do) {
    case 'subscribe':
      return subscribe(client, c)
    case 'publish':
      return publish(client, c)
    case 'disconnect':
      return client?.connected ? client.endAsync() : undefined
    case 'kill':
      return kill(client)
    default:
      throw new Error(`unknown call ${c.do}`)
  }
}

send({
  library: {
    name: `MQTT.js ${require('mqtt/package.json').version}`,
    versions: Object.keys(versions).sort(),
    transports: ['tcp', 'ws', 'unix'],
    severalIDs: true,
  },
})

const lines = createInterface({ input: process.stdin })
lines.on('line', async (line) => {
  const c = JSON.parse(line)
  try {
    send({ call: c.call, ...(await perform(c)) })
  } catch (err) {
    send({ call: c.call, error: err.message || String(err) })
  }
})
lines.on('close', () => process.exit(0))
