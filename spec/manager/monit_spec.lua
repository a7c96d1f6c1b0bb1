local layout = require("lrun.manager.layout")
local manager = require("spec.support.manager")
local screen = require("lrun.manager.monit.screen")
local terminals = require("spec.support.terminal")

local function apps(count)
  local list = {}
  for i = 1, count do
    list[i] = { id = i - 1, name = "app" .. i, instances = { { number = 0, pid = 1000 + i, state = "online", restarts = 0, cpu = 1,
      memory = 1e6 } } }
  end
  return list
end

local function view(changed)
  local made = { apps = apps(3), chosen = 1, top = 1, log = {}, rows = 24, columns = 80, colored = false }
  for key, value in pairs(changed or {}) do made[key] = value end
  return made
end

describe("the monitor's screen", function()
  it("has as many lines as the terminal, none wider than it", function()
    for _, size in ipairs{ { 24, 80 }, { 5, 20 }, { 60, 200 }, { 10, 12 } } do
      local lines = screen.lines(view{ rows = size[1], columns = size[2], apps = apps(200), log = { ("x"):rep(500), "\27[31mred" } })
      assert.equal(size[1], #lines)
      for _, line in ipairs(lines) do
        assert.is_true(layout.width(line) <= size[2], line)
        assert.is_nil(line:find("\27", 1, true))
      end
    end
  end)

  it("marks the chosen one without colours, and with them", function()
    assert.truthy(table.concat(screen.lines(view{ chosen = 2 }), "\n"):find("\n> [^\n]*app2"))
    assert.truthy(table.concat(screen.lines(view{ chosen = 2, colored = true }), "\n"):find("\27%[7m[^\n]*app2"))
  end)

  it("shows the end of the log, and writes only lines that changed", function()
    local before = screen.lines(view{ log = { "one", "two" } })
    local after = screen.lines(view{ log = { "one", "two", "three" } })
    assert.truthy(table.concat(after, "\n"):find("one\ntwo\nthree", 1, true))
    local bytes = screen.difference(before, after)
    assert.truthy(bytes:find("three", 1, true))
    assert.is_nil(bytes:find("app1", 1, true))
    assert.equal("", screen.difference(after, after))
  end)
end)

describe("lrun monit", function()
  local home

  before_each(function() home = manager.home() end)
  after_each(function() home:close() end)

  local function open(env, size)
    local all = home:env(env)
    return terminals.open{ args = { "monit" }, env = all, cwd = home.dir, rows = size and size[1] or 24, columns = size and size[2] or 100 }
  end

  it("needs a terminal", function()
    local _, err, code = home:run{ "monit" }
    assert.equal(2, code)
    assert.truthy(err:find("terminal", 1, true))
  end)

  it("shows apps and the chosen one's log, follows what happens, takes keys, and leaves the terminal as it was", function()
    home:start("first", 'print("words of the first")\n' .. manager.idle)
    home:start("second", 'print("words of the second")\n' .. manager.idle)
    local terminal = open{ NO_COLOR = "1" }
    terminal:waitFor("first[^\n]*online")
    terminal:waitFor("second[^\n]*online")
    terminal:waitFor("words of the first", true)
    terminal:type("\27[B")
    terminal:waitFor("words of the second", true)
    terminal:waitFor("> [^\n]*second")
    terminal:resize(12, 60)
    manager.wait("the smaller screen", function()
      for line in terminal.screen:text():gmatch("[^\n]*") do if layout.width(line) > 60 then return false end end
      return #terminal.screen.lines <= 12 and terminal.screen:text():find("> [^\n]*second")
    end)
    home:ok{ "stop", "first" }
    terminal:waitFor("first[^\n]*stopped")
    terminal:type("\3")
    assert.equal(0, (terminal:waitForExit()))
    assert.truthy(terminal.raw:find("\27%[%?1049l"))
    assert.truthy(terminal.raw:find("\27%[%?25h"))
    assert.is_nil(terminal.raw:find("\27%[%d+m"))
    terminal:close()
  end)

  it("shows colours where the terminal has them", function()
    home:start("app", manager.idle)
    local terminal = open{ NO_COLOR = "", TERM = "xterm" }
    terminal:waitFor("app[^\n]*online")
    assert.truthy(terminal.raw:find("\27[7m", 1, true))
    terminal:type("q")
    assert.equal(0, (terminal:waitForExit()))
    terminal:close()
  end)
end)
