local child_process = require("child_process")
local await = require("await")
local net = require("net")
local probe = require("spec.support.probe")
local terminal = require("spec.support.terminal")

local APP = [[
answer = 42
local timers = require("timers")
local ticks = 0
timers.setInterval(function() ticks = ticks + 1 end, 5)
timers.setTimeout(function() print("ready") end, 1)
function tell() print("the count goes on") end
process:on("SIGUSR2", function() print("alive") end)
]]

-- A client on pipes, whose input the spec writes bit by bit.
local function client(pid)
  local child = child_process.spawn(process.execPath, { "attach", pid }, { stdio = { "pipe", "pipe", "pipe" } })
  local self = { child = child, text = "" }
  local waiting
  child.stdout:on("data", function(data)
    self.text = self.text .. data
    if waiting and self.text:find(waiting.pattern) then
      local f = waiting.callback
      waiting = nil
      f()
    end
  end)
  child.stdin:on("error", function() end)
  function self.type(text) child.stdin:write(text) end
  function self.see(pattern)
    if self.text:find(pattern) then return end
    await(function(callback) waiting = { pattern = pattern, callback = callback } end)
  end
  function self.ended()
    if child.exitCode or child.signalCode then return child.exitCode end
    return (await(function(callback) child:once("close", callback) end))
  end
  return self
end

-- The program goes on: it hears signals and answers.
local function lives(app)
  app.child:kill("SIGUSR2")
  app:line("alive")
end

-- The client ends by itself, and the program goes on.
local function partsInPeace(one, app)
  one.child.stdin:finish()
  assert.equal(0, one.ended())
  lives(app)
end

describe("lrun attach", function()
  before_each(probe.begin)
  after_each(probe.finish)

  it("runs inputs in the process, with values, locals, modules and errors", function()
    local _, pid = probe.start(APP)
    local out = probe.good({ "attach", pid }, [[
answer
local mine = 3
mine + answer
_
for i = 1, 2 do
  print("line", i)
end
path.basename("/a/b")
require("await").sleep(1) or "slept"
answer = 7
nothing.at.all
error({ code = "X" })
(function() return "later" end)()
]])
    assert.equal('42\n45\n45\nline\t1\nline\t2\n"b"\n"slept"\n', out:match("^.-\"slept\"\n"))
    assert.matches("attempt to index global 'nothing'", out)
    assert.matches('code = "X"', out)
    assert.matches('"later"\n$', out)
    assert.equal("7\n", (probe.good({ "attach", pid }, "answer\n")))
    assert.equal("nil\n", (probe.good({ "attach", pid }, "mine\n")))
  end)

  it("says what an input that is not complete lacks, and what is none", function()
    local _, pid = probe.start(APP)
    assert.matches("'end' expected", probe.good({ "attach", pid }, "while true do\n"))
    assert.matches("unknown command .nothing; .help lists them", probe.good({ "attach", pid }, ".nothing\n"))
    assert.matches("Ctrl%-C stops", probe.good({ "attach", pid }, ".help\n"))
    assert.equal("", probe.good({ "attach", pid }, ".exit\n1\n"))
  end)

  it("shows what the process prints, to each who is attached, and to whom it was printed before", function()
    local app, pid = probe.start(APP)
    local a, b = client(pid), client(pid)
    a.type("1\n")
    a.see("1\n")
    b.type("2\n")
    b.see("2\n")
    a.type("tell()\n")
    a.see("the count goes on\n")
    b.see("the count goes on\n")
    app:line("the count goes on")
    a.child.stdin:finish()
    assert.equal(0, a.ended())
    b.type("answer\n")
    b.see("42\n")
    b.child.stdin:finish()
    assert.equal(0, b.ended())
    lives(app)
  end)

  it("stops an input that loops for ever, when its client says so or is gone", function()
    local app, pid = probe.start(APP)
    for _, signal in ipairs{ "SIGINT", "SIGKILL" } do
      local one = client(pid)
      one.type("tell() while true do pcall(function() while true do end end) end\n")
      app:line("the count goes on")
      one.child:kill(signal)
      one.ended()
      lives(app)
    end
  end)

  it("stops an input also when that was said before it began", function()
    local app, pid = probe.start(APP)
    local folder = process.env.XDG_RUNTIME_DIR and process.env.XDG_RUNTIME_DIR .. "/lrun" or "/tmp/lrun-" .. require("os").userInfo().uid
    local one = client(pid)
    one.type("1\n")
    one.see("1\n")
    local socket = net.connect(folder .. "/" .. pid .. ".sock")
    local text = ""
    socket:write('{"id":1,"call":"eval","args":{"source":"while true do end"}}\n{"id":2,"call":"interrupt"}\n')
    await(function(callback)
      socket:on("data", function(data)
        text = text .. tostring(data)
        if text:find('"id":2') then callback() end
      end)
    end)
    assert.matches("interrupted: the input that waited was given up", text)
    socket:destroy()
    partsInPeace(one, app)
  end)

  it("stops an input that loops for ever after it has awaited", function()
    local app, pid = probe.start(APP)
    local one = client(pid)
    one.type("require('await').sleep(1) tell() while true do pcall(function() while true do end end) end\n")
    app:line("the count goes on")
    one.child:kill("SIGKILL")
    one.ended()
    probe.lrun{ "stack", pid }
    lives(app)
    local screen = terminal.open{ args = { "attach", pid }, columns = 100 }
    finally(function() screen:close() end)
    screen:waitForLine(pid .. ">")
    screen:type("require('await').sleep(1) tell() while true do end\r")
    screen:waitFor("the count goes on", true)
    screen:type("\3")
    screen:waitFor("interrupted!")
    screen:waitForLine(pid .. ">")
    lives(app)
  end)

  it("gives up an input that waits when its client is gone", function()
    local app, pid = probe.start(APP)
    local one = client(pid)
    one.type("tell() require('await').sleep(1e6)\n")
    app:line("the count goes on")
    one.child:kill("SIGKILL")
    one.ended()
    lives(app)
  end)

  it("is not harmed by calls that no client of ours would make", function()
    local app, pid = probe.start(APP)
    local one = client(pid)
    one.type("1\n")
    one.see("1\n")
    local folder = require("lrun.core.probe").folder()
    local function answerTo(line)
      local socket, text = net.connect(folder .. "/" .. pid .. ".sock"), ""
      socket:on("error", function() end)
      socket:write(line .. "\n")
      local answer = await(function(callback)
        socket:on("close", function() callback(text) end)
        socket:on("data", function(data)
          text = text .. tostring(data)
          if text:find('\n{.*\n') then callback(text:match("\n(.*)")) end
        end)
      end)
      socket:destroy()
      return answer
    end
    for _, id in ipairs{ "1e999", "-1e999", "[1e999]", "true" } do
      assert.matches("an id is a text or a number", answerTo(('{"id":%s,"call":"nosuch"}'):format(id)))
    end
    for _, arguments in ipairs{ '"interval":"inf"', '"interval":"nan"', '"interval":1e300', '"interval":0', '"seconds":"nan"',
      '"seconds":1e300', '"seconds":-1', '"seconds":{}' } do
      assert.matches("a profile takes 0 to 3600 seconds", answerTo(('{"id":1,"call":"profile","args":{%s}}'):format(arguments)))
    end
    for _, text in ipairs{ "a", "a.", "(", " ", "x[1]." } do
      assert.matches('"partial"', answerTo(('{"id":1,"call":"complete","args":{"before":"%s"}}'):format(text:rep(100000))))
    end
    partsInPeace(one, app)
  end)

  it("drops what a client that does not read cannot take, and goes on", function()
    local app, pid = probe.start(APP)
    local one = client(pid)
    one.type("1\n")
    one.see("1\n")
    one.child:kill("SIGSTOP")
    local other = client(pid)
    other.type("local text = ('x'):rep(1000) for i = 1, 4000 do io.stdout:write(text) end print()\n")
    other.type("'it has ' .. (collectgarbage('count') < 20000 and 'little' or 'much')\n")
    other.see("it has little")
    other.child.stdin:finish()
    assert.equal(0, other.ended())
    app:line("x+")
    one.child:kill("SIGCONT")
    one.child:kill("SIGKILL")
    one.ended()
    lives(app)
  end)

  it("says so when the process ends meanwhile", function()
    local _, pid = probe.start(APP)
    local _, err, code = probe.lrun({ "attach", pid }, "process.exit(3)\n")
    assert.equal("lrun: process " .. pid .. " has ended\n", err)
    assert.equal(1, code)
  end)

  it("is a prompt on a terminal: completion, history, Ctrl-C for an input that does not end, Ctrl-D", function()
    local app, pid = probe.start(APP)
    local screen = terminal.open{ args = { "attach", pid }, env = { LRUN_HISTORY = probe.path("history") }, columns = 100 }
    finally(function() screen:close() end)
    screen:waitForLine(pid .. ">")
    screen:type("ans\t")
    screen:waitForLine(pid .. "> answer")
    screen:type(" + 1\r")
    screen:waitFor("answer + 1\n43\n" .. pid .. ">", true)
    screen:type("tell() while true do end\r")
    screen:waitFor("the count goes on", true)
    screen:type("\3")
    screen:waitFor("interrupted!")
    screen:waitForLine(pid .. ">")
    screen:type("print('it ' .. 'waits') require('await').sleep(1e6)\r")
    screen:waitFor("it waits", true)
    screen:type("\3")
    screen:waitFor("interrupted: the input that waited was given up\n" .. pid .. ">", true)
    screen:type("tell()\r")
    screen:waitFor("the count goes on\n" .. pid .. ">", true)
    screen:type("ans\27[A\r")
    screen:waitFor("43\n.*43\n" .. pid .. ">")
    screen:type("if true then\rprint('in' .. 'side')\rend\r")
    screen:waitFor("inside\n" .. pid .. ">", true)
    screen:type("\4")
    assert.equal(0, (screen:waitForExit()))
    assert.matches("answer %+ 1\n", probe.read("history"))
    lives(app)
  end)
end)
