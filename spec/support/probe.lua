--- Programs that the specs look into: started from a text, seen to be ready, looked into by lrun's own commands, ended.
local assert = require("luassert")
local lrun = require("spec.support.lrun")
local program = require("spec.support.program")
local uv = require("luv")

local probe = {}

local folder
local running = {}

--- A folder for one spec, and the end of all that runs in it.
function probe.begin() folder = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-probe-XXXXXX")) end

function probe.finish()
  for _, each in ipairs(running) do
    pcall(each.interrupt, each, "SIGKILL")
    each:gone()
  end
  running = {}
  os.execute("rm -rf '" .. folder .. "'")
end

--- A file in the folder.
---@return string path
function probe.write(name, text)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

function probe.read(name)
  local file = io.open(folder .. "/" .. name, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

function probe.path(name) return folder .. "/" .. name end

--- Starts a program, and waits for its first line "ready".
---@return table program, string pid
function probe.start(text, arguments, env)
  local started = program.start(probe.write("app.lua", text), arguments, env)
  running[#running + 1] = started
  started:line("ready")
  return started, tostring(started.child.pid)
end

--- Runs a command of lrun's to its end.
---@return string stdout, string stderr, integer code
function probe.lrun(args, input) return lrun.run(args, input) end

--- Runs one that has to go well.
---@return string stdout
function probe.good(args, input)
  local out, err, code = lrun.run(args, input)
  assert.equal("", err)
  assert.equal(0, code, out)
  return out
end

--- Runs one that has to fail with one line.
---@return string stderr
function probe.bad(code, args, input)
  local out, err, ended = lrun.run(args, input)
  assert.equal("", out)
  assert.equal(code, ended, err)
  assert.matches("^lrun: [^\n]+\n$", err)
  return err
end

return probe
