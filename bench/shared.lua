--- A dictionary of all workers beside a Lua table of one process, OpenResty's dictionary where nginx has it, and a message to the primary
--- and back.
local fetch = require("fetch")
local fs = require("fs")

local ROUNDS = 5

local measures = {
  { what = "get-number", work = "shared: get of a number among 1,000 keys", unit = "µs", count = 500000, limit = "<= 0.5" },
  { what = "get-string", work = "shared: get of a short string", unit = "µs", count = 500000, limit = "<= 0.5" },
  { what = "incr", work = "shared: incr", unit = "µs", count = 300000, limit = "<= 1.5" },
  { what = "workers", work = "shared: incr of one number by two workers at once", unit = "/s", count = 200000, limit = ">= 300000" },
}

-- The same with OpenResty's dictionary; what a request measures it answers with, in microseconds a call.
local NGINX = [[
local dict, count = ngx.shared.bench, tonumber(ngx.var.arg_count)
for i = 1, 1000 do dict:set("key " .. i, i) end
dict:set("n", 1)
dict:set("text", "a short string")
local calls = {
  ["get-number"] = function() return dict:get("n") end,
  ["get-string"] = function() return dict:get("text") end,
  incr = function() return dict:incr("n", 1) end,
}
local f = calls[ngx.var.arg_what]
ngx.update_time()
local started = ngx.now()
for _ = 1, count do f() end
ngx.update_time()
ngx.print((ngx.now() - started) / count * 1e6)
]]

-- A server with the dictionary; nil where nginx has none.
local function startNginx(bench)
  local script = bench.scratch .. "/shared-dict.lua"
  fs.writeFileSync(script, NGINX)
  local starter = bench.nginxLua{ http = "lua_shared_dict bench 16m;", handler = ("content_by_lua_file %s;"):format(script) }
  return bench.startServers{ { "nginx", starter } }[1]
end

local function ask(server, what, count)
  local url = ("http://127.0.0.1:%d/?what=%s&count=%d"):format(server.port, what, count)
  return tonumber(assert(fetch(url)):text())
end

return {
  order = 80,
  run = function(bench)
    local function measure(what, count)
      return tonumber(bench.output(bench.lrun, { bench.file("bench/programs/shared.lua"), what, tostring(count) }))
    end
    local nginx = startNginx(bench)
    local messages, tables, results, nginxRuns = {}, {}, {}, {}
    for _ = 1, ROUNDS do
      table.insert(messages, measure("message", 5000))
      table.insert(tables, measure("table", 5000000))
      for _, each in ipairs(measures) do
        results[each.what] = results[each.what] or {}
        table.insert(results[each.what], measure(each.what, each.count))
        if nginx and each.what ~= "workers" then
          nginxRuns[each.what] = nginxRuns[each.what] or {}
          table.insert(nginxRuns[each.what], ask(nginx, each.what, each.count))
        end
      end
    end
    for _, each in ipairs(measures) do
      local lrun = bench.median(results[each.what])
      bench.row{ work = each.work, unit = each.unit, lrun = lrun, target = each.limit }
      if nginxRuns[each.what] then
        bench.compare(each.work, each.unit, lrun, { { "OpenResty's dictionary", bench.median(nginxRuns[each.what]) } })
      end
    end
    bench.compare("shared: incr, beside a plain table's", "µs", bench.median(results.incr), { { "a Lua table", bench.median(tables) } })
    bench.compare("shared: get, beside asking the primary", "µs", bench.median(results["get-number"]),
      { { "a message and back", bench.median(messages) } })
  end,
}
