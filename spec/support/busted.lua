--- Runs spec files with busted inside lrun: `lrun spec/support/busted.lua FILE… [busted options]`, from the project's
--- root. Every test runs in the main coroutine, so it may await; helpers are `require("spec.support.name")`.
--- When the tests have passed the process must end by itself: a handle that a test left open fails the run.
local uv = require("luv")
local timers = require("timers")

local GRACE = 3000                  -- ms for what is closing at the end of the tests

-- A test that waits for what never comes lets the loop drain: that is a failure, too. A spec that cannot be run here says
-- so and exits with 77.
local finished = false
process:on("exit", function(code)
  if finished or code ~= 0 then return end
  io.stdout:flush()
  io.stderr:write("\nthe loop has drained while a test was waiting\n")
  process.exitCode = 1
end)

local found, runner = pcall(require, "busted.runner")
if not found then
  io.stderr:write("the specs are run by busted: install the package lua-busted\n")
  process.exit(1)
end
local passed = pcall(runner, { standalone = false })
finished = true
if not passed then process.exit(1) end

timers.setTimeout(function()
  io.stderr:write("handles left open by the tests:\n")
  uv.walk(function(handle)
    if handle and handle:is_active() and handle:has_ref() then io.stderr:write("  ", tostring(handle), "\n") end
  end)
  process.exit(1)
end, GRACE):unref()
