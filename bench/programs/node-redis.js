// node-redis.js WHAT COUNT PATH: CPU microseconds of this process for each command, by the npm package redis; the twin of redis.lua.
const { createClient } = require("redis")

const [what, count, path] = [process.argv[2], Number(process.argv[3]), process.argv[4]]
const client = createClient({ socket: { path } })

const pipelined = n => new Promise(resolve => {
  let sent = Math.min(1000, n), answered = 0
  const done = () => {
    if (++answered === n) return resolve()
    if (sent === n) return
    sent++
    client.get("key").then(done)
  }
  for (let i = 0; i < sent; i++) client.get("key").then(done)
})

const alone = async n => { for (let i = 0; i < n; i++) await client.get("key") }

const bus = async n => {
  const subscriber = client.duplicate()
  await subscriber.connect()
  let received = 0
  await new Promise(resolve => {
    subscriber.pSubscribe("bench.*", text => {
      JSON.parse(text)
      if (++received === n) resolve()
    }).then(() => {
      for (let i = 1; i <= n; i++) client.publish("bench.x", JSON.stringify({ id: i, text: "a message of some bytes" }))
    })
  })
  subscriber.destroy()
}

const works = { pipelined, alone, bus }
const main = async () => {
  await client.connect()
  await client.set("key", "a value of some bytes")
  await works[what](Math.min(count, 2000))
  const before = process.cpuUsage()
  await works[what](count)
  const after = process.cpuUsage(before)
  console.log((after.user + after.system) / count)
  process.exit(0)
}
main()
