// redis.js WHAT COUNT URL: CPU microseconds of this process for each command, by ioredis; the twin of redis.lua.
const Redis = require("ioredis")

const [what, count, url] = [process.argv[2], Number(process.argv[3]), process.argv[4]]
const options = url.startsWith("/") ? { path: url } : url
const client = new Redis(options)

const pipelined = n => new Promise(resolve => {
  let sent = Math.min(1000, n), answered = 0
  const done = () => {
    if (++answered === n) return resolve()
    if (sent === n) return
    sent++
    client.get("key", done)
  }
  for (let i = 0; i < sent; i++) client.get("key", done)
})

const alone = async n => { for (let i = 0; i < n; i++) await client.get("key") }

const bus = async n => {
  const subscriber = new Redis(options)
  await subscriber.psubscribe("bench.*")
  await new Promise(resolve => {
    let received = 0
    subscriber.on("pmessage", (pattern, topic, text) => {
      JSON.parse(text)
      if (++received === n) resolve()
    })
    for (let i = 1; i <= n; i++) client.publish("bench.x", JSON.stringify({ id: i, text: "a message of some bytes" }))
  })
  subscriber.disconnect()
}

const works = { pipelined, alone, bus }
const main = async () => {
  await client.set("key", "a value of some bytes")
  await works[what](Math.min(count, 2000))
  const before = process.cpuUsage()
  await works[what](count)
  const after = process.cpuUsage(before)
  console.log((after.user + after.system) / count)
  process.exit(0)
}
main()
