--- `lrun --test [FILES]`: runs specs with busted, which is a module of its own (Debian: lua-busted). Each test is on the main
--- coroutine, so it may await.
local process = require("process")
local programs = require("lrun.host.modules")

local finished = false

-- A test that waits for what never comes lets the loop drain.
local function onExit(code)
  if finished or code ~= 0 then return end
  io.stdout:flush()
  io.stderr:write("lrun: nothing is left that could go on, and a test is waiting\n")
  process.exitCode = 1
end

local function run()
  local found, runner = pcall(programs.require, "busted.runner")
  if not found then
    if not tostring(runner):find("module 'busted.runner' not found", 1, true) then error(runner, 0) end
    io.stderr:write("lrun: --test needs busted: install Debian's package lua-busted, or `luarocks install busted`\n")
    process.exit(1)
  end
  process:on("exit", onExit)
  local ok = pcall(runner, { standalone = false })
  finished = true
  process.exit(ok and 0 or 1)
end

return { run = run }
