// A component on a NATS system that knows nothing of MQTT: an event broker that
// listens to control.* and topic.*, and a channel on one topic. TestEventsNode
// drives it. A line of JSON on standard input is an event that the channel
// publishes; what the component hears is a line of JSON on standard output. It says
// hello when it has been answered, and goodbye when its input ends.
//
//   node component.js URL TOPIC
'use strict'

const { connect, StringCodec } = require('nats')
const { createInterface } = require('node:readline')

const codec = StringCodec()
const [url, topic] = process.argv.slice(2)
const show = (line) => process.stdout.write(JSON.stringify(line) + '\n')

async function main() {
  const nc = await connect({ servers: url, reconnect: true, maxReconnectAttempts: -1, reconnectTimeWait: 1000 })
  const stats = { clientCount: 0, messageCount: 0 }
  const clientId = 'component-1'

  const listen = (subject, heard) => {
    const sub = nc.subscribe(subject)
    ;(async () => {
      for await (const m of sub) heard(m, JSON.parse(codec.decode(m.data)))
    })()
  }
  listen('control.*', (m, event) => {
    if (event.clientId === clientId) return // what it has said itself
    stats.clientCount += { 'control.connect': 1, 'control.disconnect': -1 }[m.subject] ?? 0
    show({ on: event.type, event, stats })
  })
  listen('topic.*', (m, event) => {
    stats.messageCount++
    show({ on: event.type, event, stats })
  })
  listen(`topic.${topic}`, (m, event) => show({ channel: topic, event }))

  const said = codec.encode(JSON.stringify({ clientId, topic, timestamp: new Date() }))
  const answer = await nc.request('control.connect', said, { timeout: 5000 })
  show({ hello: JSON.parse(codec.decode(answer.data)) })

  for await (const line of createInterface({ input: process.stdin })) {
    nc.publish(`topic.${topic}`, codec.encode(JSON.stringify({ ...JSON.parse(line), clientId, timestamp: new Date() })))
  }
  nc.publish('control.disconnect', codec.encode(JSON.stringify({ clientId, topic, timestamp: new Date() })))
  await nc.drain()
  show({ goodbye: stats })
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
