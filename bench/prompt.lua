--- From the start in a terminal to the first prompt, beside Node's. Each is a process in a pseudo-terminal.
local uv = require("luv")
local terminal = require("../spec/support/terminal")

local ROUNDS, WORK = 15, "start to prompt, on a terminal"

-- Milliseconds until the last line is an empty prompt.
local function measure(program)
  local started = uv.hrtime()
  local t = terminal.open{ program = program, env = { NODE_REPL_HISTORY = "", NODE_NO_READLINE = "" } }
  t:waitForLine(">", 10000)
  local ms = (uv.hrtime() - started) / 1e6
  t:close()
  return ms
end

return {
  order = 12,
  needs = { "setsid" },
  run = function(bench)
    local node = bench.find("node")
    local lrunTimes, nodeTimes = {}, {}
    for i = 1, ROUNDS do
      lrunTimes[i] = measure(bench.lrun)
      if node and i <= 5 then nodeTimes[i] = measure(node) end
    end
    local lrun = bench.median(lrunTimes)
    bench.row { work = WORK, unit = "ms", lrun = lrun, target = "<= 10" }
    bench.compare(WORK, "ms", lrun, { { "node", node and bench.median(nodeTimes) } })
  end,
}
