--- shared: one process's view; spec/shared/cluster_spec.lua has many.
local await = require("await")
local fs = require("fs")
local shared = require("shared")

local serial = 0
local function fresh(options)
  serial = serial + 1
  return shared.dict("spec " .. serial, options)
end

local function code(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.code, err.message
end

describe("a dictionary", function()
  it("keeps every kind of value, as a copy", function()
    local dict = fresh()
    local list = { 1, "two", { three = false } }
    for i, value in ipairs{ "", "a\0b", 0.1, -math.huge, 2 ^ 53, true, false, {}, list } do
      dict:set(i, value)
      assert.same(value, dict:get(i))
    end
    list[1] = "changed"
    assert.equal(1, dict:get(9)[1])
    dict:set("nan", 0 / 0)
    assert.is_true(dict:get("nan") ~= dict:get("nan"))
    assert.is_nil(dict:get("nothing"))
  end)

  it("tells numbers from texts, and takes -0 for 0", function()
    local dict = fresh()
    dict:set(1, "number")
    dict:set("1", "text")
    dict:set(-0, "zero")
    assert.same({ "number", "text", "zero" }, { dict:get(1), dict:get("1"), dict:get(0) })
    assert.equal(3, dict:stats().keys)
    assert.same({ "1" }, dict:keys("1"))
  end)

  it("refuses what it cannot keep, and names it", function()
    local dict = fresh()
    for _, value in ipairs{ print, coroutine.create(print), io.stdout, { print } } do
      assert.equal("ERR_INVALID_ARG_TYPE", code(dict.set, dict, "k", value))
    end
    local ring = {}
    ring.ring = ring
    assert.equal("ERR_INVALID_ARG_TYPE", code(dict.set, dict, "k", ring))
    assert.equal("ERR_INVALID_ARG_TYPE", code(dict.set, dict, "k", nil))
    assert.equal("ERR_OUT_OF_RANGE", code(dict.set, dict, "k", ("x"):rep(2 ^ 20 + 1)))
    assert.equal("ERR_OUT_OF_RANGE", code(dict.set, dict, "k", { ("x"):rep(2 ^ 20) }))
    assert.equal("ERR_OUT_OF_RANGE", code(dict.set, dict, ("k"):rep(501), 1))
    assert.equal("ERR_INVALID_ARG_VALUE", code(dict.set, dict, 0 / 0, 1))
    assert.equal("ERR_INVALID_ARG_TYPE", code(dict.get, dict, {}))
    assert.is_true(dict:set(("k"):rep(500), ("x"):rep(2 ^ 20)))
    assert.equal(2 ^ 20, #dict:get(("k"):rep(500)))
    local _, message = code(dict.set, "k", 1)
    assert.equal("call dict:set(...) with a colon", message)
  end)

  it("counts, and refuses to count what is no number", function()
    local dict = fresh()
    assert.equal(11, dict:incr("n", 1, 10))
    assert.equal(10.5, dict:incr("n", -0.5))
    local which, message = code(dict.incr, dict, "none", 1)
    assert.equal("ERR_INVALID_STATE", which)
    assert(message:find("no init", 1, true))
    dict:set("text", "5")
    assert.equal("ERR_INVALID_STATE", code(dict.incr, dict, "text", 1))
    dict:push("queue", 1)
    assert.equal("ERR_INVALID_STATE", code(dict.get, dict, "queue"))
    assert.equal("ERR_INVALID_STATE", code(dict.limit, dict, "queue", 1, 1000))
  end)

  it("updates whole or not at all, and nothing changes within an update", function()
    local dict, other = fresh(), fresh()
    dict:set("k", { n = 1 })
    assert.equal(2, dict:update("k", function(old) return { n = old.n + 1 } end).n)
    assert.equal("ERR_INVALID_ARG_TYPE", code(dict.update, dict, "k", function() return print end))
    local inner = {}
    dict:update("k", function(old)
      for _, each in ipairs{ dict, other } do
        inner[#inner + 1] = code(each.set, each, "x", 1)
        inner[#inner + 1] = code(each.update, each, "x", print)
        inner[#inner + 1] = code(each.pop, each, "x")
      end
      return { n = old.n + dict:get("k").n }
    end)
    assert.equal(4, dict:get("k").n)
    assert.equal(("ERR_INVALID_STATE "):rep(6), table.concat(inner, " ") .. " ")
    assert.is_false(pcall(dict.update, dict, "k", function() await.sleep(1) end))
    assert.equal(4, dict:get("k").n)
    assert.is_true(other:set("x", 1))
  end)

  it("drops what its time has ended", function()
    local dict = fresh()
    dict:set("short", 1, 1)
    dict:set("long", 1, 60000)
    await(function(callback)
      local function look() if dict:get("short") == nil then callback() else require("timers").setTimeout(look, 1) end end
      look()
    end)
    assert.is_nil(dict:ttl("short"))
    assert.equal(math.huge, dict:ttl("long") and (dict:set("ever", 1) and dict:ttl("ever")))
    assert(dict:ttl("long") <= 60000)
    assert.same({ "ever", "long" }, dict:keys())
    assert.is_false(dict:delete("short"))
  end)

  it("walks more keys than one look takes, while they go", function()
    local dict = fresh()
    for i = 1, 1000 do dict:set(("k%04d"):format(i), i) end
    local sum = 0
    for key, value in dict:pairs() do
      sum = sum + value
      dict:delete(key)
    end
    assert.equal(500500, sum)
    assert.equal(0, dict:stats().keys)
  end)

  it("has queues that are first in, first out, and go when they are empty", function()
    local dict = fresh()
    assert.equal(1, dict:push("q", { 1 }))
    assert.equal(2, dict:push("q", false))
    assert.same({ 1 }, dict:pop("q"))
    assert.is_false(dict:pop("q"))
    assert.is_nil(dict:pop("q"))
    assert.equal(0, dict:stats().keys)
    local used = dict:stats().used
    for i = 1, 1000 do dict:push("q", i) end
    assert.is_true(dict:delete("q"))
    assert.equal(used, dict:stats().used)
    dict:push("q", "new")
    dict:set("q", "value")
    assert.equal("value", dict:get("q"))
    assert.equal("ERR_INVALID_STATE", code(dict.pop, dict, "q"))
    dict:delete("q")
    assert.equal(used, dict:stats().used)
  end)

  it("limits exactly", function()
    local dict = fresh()
    for left = 4, 0, -1 do assert.same({ true, left, 0 }, { dict:limit("l", 5, 60000) }) end
    local allowed, left, wait = dict:limit("l", 5, 60000)
    assert.same({ false, 0 }, { allowed, left })
    assert(wait > 0 and wait <= 60000)
    assert.is_true(dict:limit("l", 6, 60000))        -- a larger limit goes on from what was counted
    assert.same({ false, 0, 1000 }, { dict:limit("never", 0, 1000) })
    assert.equal("ERR_OUT_OF_RANGE", code(dict.limit, dict, "l", 100001, 1000))
    assert.is_true(dict:limit("many", 100000, 1000))
  end)
end)

describe("a full dictionary", function()
  it("makes room from what was used least recently", function()
    local dict = fresh{ size = 256 * 1024 }
    for i = 1, 2000 do
      dict:set(i, ("v"):rep(500))
      if i > 10 then assert(dict:get(1), "the key that is always used went") end
    end
    local stats = dict:stats()
    assert(stats.used <= stats.size)
    assert(stats.keys > 200, stats.keys)
    local oldest = 2
    while dict:get(oldest) == nil do oldest = oldest + 1 end
    local holes = 0
    for i = oldest, 2000 do if dict:get(i) == nil then holes = holes + 1 end end
    assert(holes <= (2000 - oldest) / 10, holes .. " newer keys went before older ones")
  end)

  it("takes what has ended first", function()
    local dict = fresh{ size = 256 * 1024 }
    for i = 1, 100 do dict:set("stays" .. i, ("v"):rep(500)) end
    for i = 1, 150 do dict:set("ends" .. i, ("v"):rep(500), 1) end
    await(function(callback)
      local function look() if dict:get("ends150") == nil then callback() else require("timers").setTimeout(look, 1) end end
      look()
    end)
    for i = 1, 150 do dict:set("new" .. i, ("v"):rep(500)) end
    assert.equal(100, #dict:keys("stays"))
    assert.equal(150, #dict:keys("new"))
  end)

  it("says ENOSPC where nothing may go", function()
    local dict = fresh{ size = 64 * 1024, evict = false }
    local n = 0
    while pcall(dict.set, dict, n, ("v"):rep(500)) do n = n + 1 end
    local which, message = code(dict.set, dict, "more", ("v"):rep(500))
    assert.equal("ENOSPC", which)
    assert(message:find("spec " .. serial, 1, true))
    for i = 0, n - 1 do assert.equal(500, #dict:get(i)) end
    dict:delete(0)
    assert.is_true(dict:set("more", ("v"):rep(400)))
    dict:clear()
    assert.same({ keys = 0, size = 64 * 1024, used = 0 }, dict:stats())
  end)

  it("keeps queues, and says ENOSPC when only they are left", function()
    local dict = fresh{ size = 64 * 1024 }
    dict:set("goes", ("v"):rep(1000))
    local n = 0
    while pcall(dict.push, dict, "q", ("v"):rep(500)) do n = n + 1 end
    assert(n > 50, n)
    assert.is_nil(dict:get("goes"))
    assert.equal(n, dict:length("q"))
    assert.equal("ENOSPC", code(dict.set, dict, "large", ("v"):rep(60000)))
    assert.equal(n, dict:length("q"))
  end)
end)

describe("shared.dict", function()
  local folder
  setup(function() folder = fs.mkdtempSync("/tmp/lrun-shared-") end)
  teardown(function() fs.rmSync(folder, { recursive = true }) end)

  it("finds the dictionary of a name, and refuses other options", function()
    local dict = fresh{ size = 65536 }
    assert.equal(dict, shared.dict(dict.name))
    assert.equal(dict, shared.dict(dict.name, { size = 65536, evict = true }))
    assert.equal("ERR_INVALID_ARG_VALUE", code(shared.dict, dict.name, { size = 65537 }))
    assert.equal("ERR_INVALID_ARG_VALUE", code(shared.dict, dict.name, { evict = false }))
    for _, each in ipairs{ { "", nil, "ERR_INVALID_ARG_VALUE" }, { ("n"):rep(101), nil, "ERR_INVALID_ARG_VALUE" },
      { "n", { size = 1 }, "ERR_OUT_OF_RANGE" }, { "n", { size = 65536.5 }, "ERR_OUT_OF_RANGE" }, { "n", { path = 1 }, "ERR_INVALID_ARG_TYPE" } } do
      assert.equal(each[3], code(shared.dict, each[1], each[2]))
    end
  end)

  it("takes any name for a file's", function()
    local long = ("/"):rep(99)
    for _, name in ipairs{ "../up", "a/b", ".", "..", "ü \n", ("n"):rep(100), long .. "a", long .. "b", ("\255"):rep(67), "%=" } do
      shared.dict(name, { path = folder .. "/names" }):set("k", name)
      assert.equal(name, shared.dict(name, { path = folder .. "/names/." }):get("k"))
    end
    assert.equal(long .. "a", shared.dict(long .. "a", { path = folder .. "/names" }):get("k"))
    for _, name in ipairs(fs.readdirSync(folder .. "/names")) do assert(name:find("%.dict"), name) end
    assert.same({ "names" }, fs.readdirSync(folder))
  end)

  it("names a folder or file that cannot be", function()
    fs.writeFileSync(folder .. "/file", "")
    local which, message = code(shared.dict, "d", { path = folder .. "/file/below" })
    assert.equal("ENOTDIR", which)
    assert(message:find(folder .. "/file", 1, true), message)
  end)

  it("refuses a file that is no dictionary, or was cut anywhere", function()
    local path = folder .. "/whole"
    local program = ([[
      local dict = require("shared").dict("d", { path = %q })
      for i = 1, 200 do dict:set(i, ("v"):rep(500)) end]]):format(path)
    require("child_process").execFileSync(process.execPath, { "-e", program })
    local text, notes = fs.readFileSync(path .. "/d.dict"), fs.readFileSync(path .. "/d.dict.notes")
    local function try(name, contents)
      local at = folder .. "/" .. name
      fs.mkdirSync(at)
      fs.writeFileSync(at .. "/d.dict", contents)
      fs.writeFileSync(at .. "/d.dict.notes", notes)
      return pcall(function() return shared.dict("d", { path = at }):get(200) end)
    end
    assert(select(2, try("same", text)) == ("v"):rep(500))
    for i, contents in ipairs{ "x", ("garbage"):rep(10000), text:sub(1, 4096), text:sub(1, 8192), text:sub(1, #text - 4096) } do
      local ok, err = try("cut" .. i, contents)
      assert.is_false(ok, "case " .. i)
      assert.equal("EIO", err.code)
      assert(err.message:find(folder .. "/cut" .. i .. "/d.dict", 1, true), err.message)
    end
  end)

  it("lets a value go for a queue that grows, also where nothing else was written meanwhile", function()
    local dict = fresh{ size = 64 * 1024 }
    dict:push("queue", "first")
    dict:set("value", ("v"):rep(20000))
    for _ = 1, 30 do dict:push("queue", ("q"):rep(1000)) end
    assert.is_nil(dict:get("value"))
    assert.equal(31, dict:length("queue"))
    assert.equal("first", dict:pop("queue"))
    assert.equal("ENOSPC", (code(function() for _ = 1, 100 do dict:push("queue", ("q"):rep(1000)) end end)))
  end)

  it("keeps the value that grows, and its counts, when there is no room for it", function()
    local dict = fresh{ size = 64 * 1024 }
    dict:set("other", 1)
    dict:set("k", "small")
    local before = dict:stats()
    assert.equal("ENOSPC", (code(dict.set, dict, "k", ("x"):rep(100000))))
    assert.equal("small", dict:get("k"))
    assert.same(before, dict:stats())
  end)

  it("has no keys that begin with more than a key can hold", function()
    local dict = fresh()
    local longest = ("k"):rep(500)
    dict:set(longest, 1)
    assert.same({}, dict:keys(longest .. "k"))
    dict:clear(longest .. "kk")
    assert.same({ longest }, dict:keys(longest))
  end)

  it("takes what has ended for no limit's events", function()
    local dict = fresh()
    dict:set("k", "\1\0\0\0\1\0\0\0" .. ("\0"):rep(8) .. "\0\0\0\0\0\0\240\127", 1)  -- one event, at the end of time
    while dict:get("k") do await.sleep(1) end
    assert.same({ true, 0, 0 }, { dict:limit("k", 1, 1000) })
  end)
end)
