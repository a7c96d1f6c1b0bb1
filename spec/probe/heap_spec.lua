local probe = require("spec.support.probe")

describe("lrun heap", function()
  before_each(probe.begin)
  after_each(probe.finish)

  local APP = [[
local EventEmitter = require("events").EventEmitter
local Door = EventEmitter:extend("Door")
doors = {}
for i = 1, 321 do doors[i] = Door:new() end
huge = { ["in side"] = { [true] = {} } }
for i = 1, 100000 do huge["in side"][true][i] = i end
local cache = {}
for i = 1, 50000 do cache["key" .. i] = i end
require("timers").setInterval(function() return cache end, 1000)
weak = setmetatable({}, { __mode = "k" })
setmetatable(_G, { __len = error, __index = function(_, name) if name ~= "nothing" then error("asked for " .. tostring(name)) end end })
print("ready")
]]

  it("counts by type and by class, and tells the way to the largest tables, upvalues named", function()
    local _, pid = probe.start(APP)
    local out = probe.good({ "heap", pid })
    assert.matches("\ntable +%d+ +%d+ ", out)
    assert.matches("\nstring +%d+ +%d+ ", out)
    assert.matches("\nfunction +%d+ +%d+ ", out)
    assert.matches("\ncoroutine +%d+ +%d+ ", out)
    assert.matches("\nDoor +321 +%d+ ", out)
    assert.matches('100000 +[^\n]+huge%["in side"%]%[true%]\n', out)
    assert.matches("50000 +[^\n]+app%.lua:9%(upvalue cache%)\n", out)
  end)

  it("is one document for programs, and leaves things as they were", function()
    local _, pid = probe.start(APP)
    local first = require("json").decode((probe.good({ "heap", pid, "--json" })))
    local function count(document, list, name)
      for _, each in ipairs(document[list]) do if each.name == name then return each.count, each.bytes end end
    end
    for _ = 1, 3 do probe.good({ "heap", pid }) end
    local second = require("json").decode((probe.good({ "heap", pid, "--json" })))
    assert.equal(321, (count(first, "classes", "Door")))
    assert.equal(321, (count(second, "classes", "Door")))
    local tables, more = count(first, "types", "table"), count(second, "types", "table")
    assert.is_true(math.abs(more - tables) < 100, tables .. " and then " .. more)
    local _, bytes = count(first, "types", "table")
    assert.is_true(bytes > 100000 * 8 and bytes < first.total)
    assert.equal(100000, first.tables[2].entries + first.tables[1].entries - 50000)
  end)
end)
