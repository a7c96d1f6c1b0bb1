local layout = require("lrun.manager.layout")
local lines = require("lrun.manager.lines")
local names = require("lrun.manager.names")
local nearest = require("lrun.manager.nearest")
local order = require("lrun.manager.order")
local policy = require("lrun.manager.policy")
local rotation = require("lrun.manager.rotation")
local targets = require("lrun.manager.targets")

describe("the nearest name", function()
  local known = { "instances", "maxMemory", "killTimeout", "autorestart", "stopExitCodes", "stop_exit_codes", "cron", "cron_restart" }

  it("is one of few edits, whatever case and hyphens", function()
    for wrong, right in pairs{ instance = "instances", maxmemory = "maxMemory", autoRestart = "autorestart", cronn = "cron",
      stop_exit_code = "stopExitCodes", ["kill-timeot"] = "killTimeout" } do
      assert.equal(right, nearest.name(wrong, known))
    end
  end)

  it("is none where none is near", function()
    assert.is_nil(nearest.name("zebra", known))
    assert.equal("", nearest.hint("zebra", known))
  end)

  it("counts a swap of neighbours as one edit, and a beginning as near", function()
    assert.equal("list", nearest.name("lsit", { "list" }))
    assert.equal("--lines", nearest.name("--line", { "--lines" }))
    assert.equal("--name", nearest.name("--nam", { "--name" }))
  end)
end)

describe("targets", function()
  local apps = {
    { id = 0, name = "web", namespace = "default" }, { id = 1, name = "web-2", namespace = "shop" }, { id = 2, name = "7", namespace = "shop" },
    { id = 7, name = "jobs", namespace = "default" },
  }
  local function select(...)
    local found, unknown = targets.select(apps, { ... })
    if not found then return nil, unknown end
    local ids = {}
    for i, app in ipairs(found) do ids[i] = app.id end
    return table.concat(ids, " ")
  end

  it("are names, namespaces, patterns, ids and all", function()
    assert.equal("0", select("web"))
    assert.equal("1 2", select("shop/"))
    assert.equal("0 1", select("web*"))
    assert.equal("1", select("*-2"))
    assert.equal("7", select("#7"))
    assert.equal("0 1 2 7", select("all"))
    assert.equal("0", select("0"))
  end)

  it("prefer a name that is a number to an id", function()
    assert.equal("2", select("7"))
  end)

  it("are each app once, in order of ids", function()
    assert.equal("0 1 7", select("jobs", "web*", "web"))
  end)

  it("tell which one means nothing, and all may", function()
    assert.same({ nil, "nosuch" }, { select("web", "nosuch") })
    assert.same({ nil, "x*" }, { select("x*") })
    assert.same({}, (targets.select({}, { "all" })))
  end)

  it("know * alone as special", function()
    assert.is_nil((select("w.b")))
    assert.is_nil((select("w[e]b*")))
  end)
end)

describe("the policy of restarts", function()
  local function rules(changed)
    local made = { autorestart = true, stopExitCodes = {}, minUptime = 1000, maxRestarts = 3, restartDelay = 0, backoff = 100 }
    for key, value in pairs(changed or {}) do made[key] = value end
    return made
  end
  local function ending(ranFor, streak, code) return { code = code, ranFor = ranFor, wasReady = ranFor >= 1000, streak = streak } end

  it("starts at once what ran long enough, and forgets failures before it", function()
    assert.same({ "restart", 0, 0 }, { policy.decide(rules(), ending(1000, 2, 1)) })
    assert.same({ "restart", 0, 700 }, { policy.decide(rules{ restartDelay = 700 }, ending(5000, 0)) })
  end)

  it("doubles the pause with each end that came too soon, up to 15 s", function()
    local pauses, streak = {}, 0
    for i = 1, 10 do
      local what, now, delay = policy.decide(rules{ maxRestarts = 100 }, ending(10, streak, 1))
      assert.equal("restart", what)
      pauses[i], streak = delay, now
    end
    assert.same({ 100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000 }, pauses)
  end)

  it("gives up past maxRestarts in a row", function()
    assert.equal("restart", (policy.decide(rules(), ending(10, 2, 1))))
    assert.equal("fail", (policy.decide(rules(), ending(10, 3, 1))))
    assert.equal("fail", (policy.decide(rules{ maxRestarts = 0 }, ending(10, 0, 1))))
  end)

  it("counts one that never was ready as a failure however long it ran", function()
    assert.same({ "restart", 1, 100 }, { policy.decide(rules(), { code = 1, ranFor = 60000, wasReady = false, streak = 0 }) })
  end)

  it("stops for the codes that mean an end, and without autorestart", function()
    assert.equal("stop", (policy.decide(rules{ stopExitCodes = { 42, 43 } }, ending(10, 0, 43))))
    assert.equal("restart", (policy.decide(rules{ stopExitCodes = { 42 } }, ending(10, 0, nil))))
    assert.equal("stop", (policy.decide(rules{ autorestart = false }, ending(5000, 0, 7))))
    assert.equal("stop", (policy.decide(rules{ autorestart = false }, ending(10, 0, 0))))
    assert.equal("fail", (policy.decide(rules{ autorestart = false }, ending(10, 0, 7))))
  end)
end)

describe("rotation", function()
  local function steps(there, keep)
    local set = {}
    for _, path in ipairs(there) do set[path] = true end
    local told = {}
    for i, step in ipairs(rotation.steps("a.log", keep, function(path) return set[path] == true end)) do
      told[i] = step.to and step.from .. ">" .. step.to or "-" .. step.from
    end
    return table.concat(told, " ")
  end

  it("renames the oldest first, and removes what is one too many", function()
    assert.equal("a.log>a.log.1", steps({ "a.log" }, 2))
    assert.equal("a.log.1>a.log.2 a.log>a.log.1", steps({ "a.log", "a.log.1" }, 2))
    assert.equal("-a.log.2 a.log.1>a.log.2 a.log>a.log.1", steps({ "a.log", "a.log.1", "a.log.2" }, 2))
    assert.equal("-a.log", steps({ "a.log" }, 0))
  end)

  it("fits whole lines, and at least one into an empty file", function()
    assert.equal(6, rotation.fit("ab\ncd\nef\n", 1, 0, 7))
    assert.equal(9, rotation.fit("ab\ncd\nef\n", 1, 0, 9))
    assert.equal(0, rotation.fit("ab\ncd\n", 1, 6, 7))
    assert.equal(3, rotation.fit("ab\ncd\n", 1, 0, 1))
    assert.equal(6, rotation.fit("ab\ncd\n", 4, 0, 1))
  end)
end)

describe("cut lines", function()
  it("are whole, whatever the pieces", function()
    local text = "one\n\ntwo and more\nthree"
    for size = 1, #text do
      local cutter, out = lines.cutter(), {}
      for at = 1, #text, size do out[#out + 1] = cutter.feed(text:sub(at, at + size - 1)) or "" end
      assert.equal("one\n\ntwo and more\n", table.concat(out))
      assert.equal("three\n", cutter.rest())
      assert.is_nil(cutter.rest())
    end
  end)

  it("are cut at the limit, and nothing of them is lost", function()
    local cutter = lines.cutter(10)
    local out = { cutter.feed(("x"):rep(25)) or "" }
    out[#out + 1] = cutter.feed("y\nz\n") or ""
    assert.equal(("x"):rep(25) .. "yz", (table.concat(out):gsub("\n", "")))
    for line in table.concat(out):gmatch("[^\n]*") do assert.is_true(#line <= 10) end
    assert.equal("xxxxxxxxxx\nxxxxx\n", lines.cutter(10).feed("xxxxxxxxxxxxxxx\n"))
  end)
end)

describe("names", function()
  it("cannot be what a target or a file could not be", function()
    for _, wrong in ipairs{ "", "all", ".hidden", "a/b", "a*", "a#1", "a\nb", "a\0b", ("x"):rep(201) } do
      assert.truthy(names.problem(wrong), wrong)
    end
    for _, right in ipairs{ "web", "7", "a b", "café", ("x"):rep(200) } do assert.is_nil(names.problem(right)) end
  end)

  it("come from scripts and commands", function()
    assert.equal("app", names.ofScript("/a/b/app.lua"))
    assert.equal("my.tool", names.ofScript("my.tool"))
    assert.equal("sleep", names.ofCommand("A=1 /bin/sleep 65 && true"))
    assert.equal("echo", names.ofCommand("echo word:$T; exec sleep 66"))
    assert.equal("app-3", names.free("app", function(name) return name == "app-2" end))
  end)
end)

describe("order", function()
  local function waves(list)
    local told = {}
    for i, wave in ipairs(list) do
      local found = {}
      for j, app in ipairs(wave) do found[j] = app.name end
      table.sort(found)
      told[i] = table.concat(found, ",")
    end
    return table.concat(told, " ")
  end
  local apps = { { name = "web", after = { "db", "cache" } }, { name = "db", after = {} }, { name = "cache", after = { "db" } }, { name = "log" } }

  it("starts what others are after first, and ends it last", function()
    assert.equal("db,log cache web", waves(order.waves(apps)))
    assert.equal("web cache db,log", waves(order.reversed(apps)))
  end)

  it("does not mind names that are not there, nor a circle", function()
    assert.equal("a", waves(order.waves{ { name = "a", after = { "gone" } } }))
    assert.equal("b a", waves(order.waves{ { name = "a", after = { "b" } }, { name = "b", after = { "a" } } }))
  end)
end)

describe("tables", function()
  local columns = { { title = "name" }, { title = "n", right = true } }

  it("are as wide as what is in them", function()
    assert.same({ "name     n", "a        1", "longer  22" }, layout.table(columns, { { "a", "1" }, { "longer", "22" } }))
  end)

  it("are cut to a width", function()
    for _, line in ipairs(layout.table(columns, { { ("x"):rep(50), "1" } }, { width = 20 })) do assert.is_true(layout.width(line) <= 20) end
    assert.equal("caf…", layout.cut("café au lait", 4))
  end)

  it("show no control characters", function()
    assert.equal("a?[31mb", layout.plain("a\27[31mb"))
  end)
end)

describe("what of a watched folder counts", function()
  it("leaves out hidden files, editors' copies, what is ignored, the app's logs, and what changes in LRUN_HOME", function()
    local home = require("lrun.manager.home")
    local logs = home.changing("/w/state")
    logs[#logs + 1] = "/w/app-out.log"
    local counts = require("lrun.manager.daemon.watch").filter{ root = "/w", ignore = { "data", "*.tmp" }, logs = logs }
    for _, path in ipairs{ "/w/app.lua", "/w/lib/a.lua", "/w/state/app.lua", "/w/app-out.lua", "/w/logsomething" } do
      assert.is_true(counts(path), path)
    end
    for _, path in ipairs{ "/elsewhere/app.lua", "/w/.git/index", "/w/.hidden", "/w/app.lua~", "/w/data/x", "/w/a.tmp", "/w/app-out.log",
      "/w/app-out.log.1", "/w/state/apps/app.json", "/w/state/apps", "/w/state/logs/app-out.log", "/w/state/lrun.log", "/w/state/daemon.sock" } do
      assert.is_false(counts(path), path)
    end
  end)
end)
