--- docs/tutorial.md, from its first block to its last, as a reader does it: in one folder, with an LRUN_HOME of its own. A block behind
--- `<!-- file NAME -->` is saved under that name; `<!-- terminal -->` is a command that goes on, and the `text` behind it, as that of
--- a later `<!-- shows -->`, is what comes there; `<!-- ends -->` is its Ctrl-C. Other `sh` blocks are run, and print the `text` behind
--- them. `…` stands for anything. The page's ports become free ones.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local path = require("path")
local manager = require("spec.support.manager")
local program = require("spec.support.program")

local PAGE = "docs/tutorial.md"
local LIMIT = 30000                 -- ms for what a terminal shows

local function has(name) return child_process.spawnSync("sh", { "-c", "command -v " .. name }).status == 0 end
for _, name in ipairs{ "curl", "openssl" } do
  if not has(name) then
    print("skipped: no " .. name)
    os.exit(77)
  end
end

-- The page's steps: blocks, and the notes that stand alone.
local function steps()
  local list, note, open = {}, nil, nil
  for line in io.lines(PAGE) do
    local fence = line:match("^```(%w*)$")
    if fence and not open then
      open = { language = fence, note = note, lines = {} }
      note = nil
    elseif fence then
      open.text = table.concat(open.lines, "\n") .. "\n"
      list[#list + 1] = open
      open = nil
    elseif open then
      table.insert(open.lines, line)
    elseif line == "<!-- ends -->" then
      list[#list + 1] = { note = "ends" }
    elseif line ~= "" then
      note = line:match("^<!%-%- (.-) %-%->$")
    end
  end
  return list
end

-- Whether the text is what the page shows.
local function fits(expected, text)
  local pattern = expected:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("…", ".-")
  return text:find("^" .. pattern .. "$") ~= nil
end

describe(PAGE, function()
  local folder, env, terminal
  local ports = { ["8000"] = tostring(program.port()), ["8443"] = tostring(program.port()) }

  local function withPorts(text)
    return (text:gsub("%f[%d]%d%d%d%d%f[%D]", ports))
  end

  setup(function()
    folder = fs.realpathSync(fs.mkdtempSync("/tmp/lrun-tutorial-"))
    fs.mkdirSync(folder .. "/bin")
    fs.symlinkSync(process.execPath, folder .. "/bin/lrun")
    fs.mkdirSync(folder .. "/work")
    env = {}
    for name, value in pairs(process.env) do env[name] = value end
    env.PATH, env.HOME, env.LRUN_HOME = folder .. "/bin:" .. env.PATH, folder, folder .. "/home"
  end)

  local function endTerminal()
    if not terminal then return end
    if terminal.child.exitCode == nil and terminal.child.signalCode == nil then
      process.kill(-terminal.child.pid, "SIGINT")
      await(function(callback) terminal.child:once("close", callback) end)
    end
    terminal = nil
  end

  teardown(function()
    endTerminal()
    child_process.spawnSync(process.execPath, { "kill" }, { env = env })
    fs.rmSync(folder, { recursive = true, force = true })
  end)

  local function startTerminal(text)
    terminal = { text = "" }
    terminal.child = child_process.spawn("sh", { "-c", "exec " .. withPorts(text) },
      { cwd = folder .. "/work", env = env, detached = true })
    for _, name in ipairs{ "stdout", "stderr" } do
      terminal.child[name]:on("data", function(data) terminal.text = terminal.text .. data end)
    end
  end

  -- The line, behind what was seen before.
  local function shows(text)
    for line in withPorts(text):gmatch("[^\n]+") do
      local ok = pcall(manager.wait, line, function()
        local _, to = terminal.text:find(line .. "\n", 1, true)
        if to then terminal.text = terminal.text:sub(to + 1) end
        return to
      end, LIMIT)
      assert(ok, ("the terminal does not show '%s', but:\n%s"):format(line, terminal.text))
    end
  end

  local function save(name, text)
    local to = folder .. "/work/" .. name
    fs.mkdirSync(path.dirname(to), { recursive = true })
    fs.writeFileSync(to, withPorts(text))
  end

  local function run(text, expected)
    local result = await(function(callback)
      child_process.execFile("sh", { "-euc", withPorts(text) }, { cwd = folder .. "/work", env = env, timeout = LIMIT },
        function(err, stdout, stderr) callback{ err = err, stdout = stdout, stderr = stderr } end)
    end)
    assert(not result.err, ("%s\nfailed: %s\n%s%s"):format(text, tostring(result.err), result.stdout, result.stderr))
    if expected then
      assert(fits(withPorts(expected), result.stdout), ("%s\nprints\n%s%s\nand not\n%s"):format(text, result.stdout, result.stderr, expected))
    end
  end

  it("does what it shows", function()
    if not has("busted") and not pcall(require, "busted.runner") then return pending("no busted") end
    local list = steps()
    for i, step in ipairs(list) do
      local name = (step.note or ""):match("^file (.+)$")
      local following = list[i + 1]
      local expected = following and following.language == "text" and not following.note and following.text
      if step.note == "ends" then endTerminal()
      elseif name then save(name, step.text)
      elseif step.note == "terminal" then
        startTerminal(step.text)
        shows(expected)
      elseif step.note == "shows" then shows(step.text)
      elseif step.language == "sh" then run(step.text, expected) end
    end
    assert(#list > 20)
  end)
end)
