local probe = require("spec.support.probe")
local webdriver = require("spec.support.webdriver")

local APP = [[
local function hotFunction()
  local x = 0
  for i = 1, 300000 do x = x + i % 7 end
  return x
end
local function coldFunction() return hotFunction and 1 end
local function everyTurn() hotFunction() coldFunction() return 1 end
require("timers").setInterval(function() everyTurn() end, 1)
print("ready")
]]

describe("lrun profile", function()
  before_each(probe.begin)
  after_each(probe.finish)

  -- As often as it takes for a process that may get little of a busy machine.
  local function profile(args, isGood)
    for _ = 1, 20 do
      local out = probe.good(args)
      if isGood(out) then return out end
    end
    error("never what it should be")
  end

  it("is a table by function", function()
    local _, pid = probe.start(APP)
    local out = profile({ "profile", pid, "--seconds", "0.5" }, function(text)
      return tonumber(text:match(": (%d+) samples")) > 10 and text:find("everyTurn")
    end)
    assert.matches("^process " .. pid .. ": %d+ samples in %d%.%d s", out)
    local own, all = out:match("([%d.]+) %% +([%d.]+) %%  [^\n]*hotFunction\n")
    assert.is_true(tonumber(own) > 50 and tonumber(all) >= tonumber(own), out)
    assert.matches("  %d%.%d %% +[%d.]+ %%  [^\n]*everyTurn\n", out)
  end)

  it("is folded stacks and a flame graph in files, and nothing where the process does nothing", function()
    local _, pid = probe.start(APP)
    local folded, svg = probe.path("folded"), probe.path("graph.svg")
    profile({ "profile", pid, "--seconds=0.3", "--folded", folded, "--svg", svg }, function()
      return probe.read("folded"):find("everyTurn")
    end)
    assert.matches("everyTurn;[^\n]*hotFunction %d+\n", probe.read("folded"))
    assert.matches("^<%?xml .*</svg>\n$", probe.read("graph.svg"))
    local _, idle = probe.start("require('timers').setInterval(function() end, 1000) print('ready')")
    assert.matches("it waits, as lrun stack shows", probe.good({ "profile", idle, "--seconds", "0.2" }))
  end)

  it("asks a process that does not return to its loop again and again", function()
    local _, pid = probe.start([[
local function hotFunction() local x = 0 while true do x = x + 1 if x > 1e15 then break end end return x end
print("ready")
io.stdout:flush()
local x = hotFunction()
print(x)
]])
    local out, err, code = probe.lrun{ "profile", pid, "--seconds", "0.3" }
    assert.equal(0, code)
    assert.matches("does not return to its loop", err)
    assert.matches("100.0 %% +100.0 %%  app.lua:hotFunction\n", out)
    assert.matches("0.0 %% +100.0 %%  app.lua:main\n", out)
  end)

  it("refuses what cannot be before it measures", function()
    local _, pid = probe.start(APP)
    for _, seconds in ipairs{ "x", "nan", "inf", "-1" } do
      assert.matches("%-%-seconds is a number from 0.1 to 3600, not '" .. seconds:gsub("%-", "%%-"),
        probe.bad(2, { "profile", pid, "--seconds=" .. seconds }))
    end
    assert.matches("cannot write '/nowhere/graph.svg': there is no such folder", probe.bad(1, { "profile", pid, "--svg", "/nowhere/graph.svg" }))
    assert.matches("'/tmp' is a directory", probe.bad(1, { "profile", pid, "--folded", "/tmp" }))
  end)

  it("is printed by -jp when the process ends, in whatever way", function()
    local hot = "local function hotFunction() local x, stop = 0, os.clock() + 0.2 while os.clock() < stop do x = x + 1 end end hotFunction() "
    for _, ending in ipairs{ { "", 0 }, { "process.exit(3)", 3 }, { "os.exit(4)", 4 }, { "error('on purpose')", 1 } } do
      local out, _, code = probe.lrun{ "-jp", probe.write("hot.lua", hot .. ending[1]) }
      assert.equal(ending[2], code)
      assert.matches("%d+%%%s+hotFunction", out)
    end
  end)

  it("zooms and searches in a browser", function()
    local missing = webdriver.missing()
    if missing then return pending(missing) end
    local stacks = {
      { stack = "main;left <&>;deep", count = 30 }, { stack = "main;right", count = 60 }, { stack = "other \"x\"", count = 10 },
    }
    local path = probe.write("graph.svg", require("lrun.probe.cli.flame").svg(stacks, "process 1: <all>"))
    local browser = webdriver.open()
    finally(function() browser:close() end)
    browser:go("file://" .. path)
    local WIDTHS = [[
      var found = {};
      document.querySelectorAll(".f").forEach(function (g) {
        if (!g.classList.contains("hidden")) found[g.dataset.n] = Math.round(+g.querySelector("rect").getAttribute("width"));
      });
      return found;]]
    local all = { all = 1200, main = 1080, ["left <&>"] = 360, deep = 360, right = 720, ["other \"x\""] = 120 }
    assert.same(all, browser:run(WIDTHS))
    browser:run([[document.querySelector('[data-n="right"]').dispatchEvent(new MouseEvent("click", { bubbles: true }))]])
    assert.same({ all = 1200, main = 1200, right = 1200 }, browser:run(WIDTHS))
    browser:press("\238\128\140")       -- Escape
    assert.same(all, browser:run(WIDTHS))
    browser:click("#search")
    browser:press("EE")
    assert.equal("30.0 % found", browser:wait("the share", [[return document.getElementById("message").textContent || false]]))
    assert.equal(1, browser:run([[return document.querySelectorAll(".found").length]]))
    browser:run([[document.querySelector('[data-n="left <&>"]').dispatchEvent(new MouseEvent("click", { bubbles: true }))]])
    assert.same({ all = 1200, main = 1200, ["left <&>"] = 1200, deep = 1200 }, browser:run(WIDTHS))
    assert.equal("left <&>", browser:run([[return document.querySelector('[data-n="left <&>"] text').textContent]]))
  end)
end)
