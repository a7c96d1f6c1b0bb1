--- A dictionary of all workers beside a message to the primary and back.
local ROUNDS = 5

local measures = {
  { what = "get-number", work = "shared: get of a number among 1,000 keys", unit = "µs", count = 500000, limit = "<= 0.5" },
  { what = "get-string", work = "shared: get of a short string", unit = "µs", count = 500000, limit = "<= 0.5" },
  { what = "incr", work = "shared: incr", unit = "µs", count = 300000, limit = "<= 1.5" },
  { what = "workers", work = "shared: incr of one number by two workers at once", unit = "/s", count = 200000, limit = ">= 300000" },
}

return {
  order = 80,
  run = function(bench)
    local function measure(what, count)
      return tonumber(bench.output(bench.lrun, { bench.file("bench/programs/shared.lua"), what, tostring(count) }))
    end
    local messages, results = {}, {}
    for _ = 1, ROUNDS do
      table.insert(messages, measure("message", 5000))
      for _, each in ipairs(measures) do
        results[each.what] = results[each.what] or {}
        table.insert(results[each.what], measure(each.what, each.count))
      end
    end
    for _, each in ipairs(measures) do
      bench.row { work = each.work, unit = each.unit, lrun = bench.median(results[each.what]), target = each.limit }
    end
    bench.compare("shared: get, beside asking the primary", "µs", bench.median(results["get-number"]),
      { { "a message and back", bench.median(messages) } })
  end,
}
