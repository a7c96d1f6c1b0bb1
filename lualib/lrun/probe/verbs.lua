--- The commands that look into a running process: their words, options and help, and the module that does each; the same form as the
--- manager's (lrun/manager/cli/verbs.lua), whose command line runs them.
local verbs = {}

local JSON = { name = "json", help = "one JSON document" }
local HELP = { name = "help", short = "h", help = "this help" }

local MORE = [[

PID: a process of yours that runs lrun; NAME or NAME#2: an app of the manager, or one of its instances; PID#2: a worker of that
primary. A process that was started with --no-inspect, or with LRUN_INSPECT=0, cannot be looked into.
]]

local USAGE = "PID|NAME[#N]"

---@type ManagerVerb[]
verbs.list = {
  { name = "attach", module = "attach", usage = USAGE, text = "a prompt in a process that runs", apps = true,
    options = function() return { HELP } end, more = MORE },
  { name = "stack", module = "stack", usage = USAGE, text = "where a process is, and what its coroutines await", apps = true,
    options = function() return { JSON, HELP } end, more = MORE },
  { name = "profile", module = "profile", usage = USAGE .. " [--svg FILE|--folded FILE|--text]", apps = true,
    text = "where a process spends its time",
    options = function()
      return {
        { name = "seconds", short = "s", value = "N", help = "for how long (10)" },
        { name = "text", help = "a table by function, which is what there is without another" },
        { name = "svg", value = "FILE", help = "a flame graph for a browser" },
        { name = "folded", value = "FILE", help = "a line a stack, and how often it was met" },
        JSON, HELP,
      }
    end, more = MORE },
  { name = "heap", module = "heap", usage = USAGE, text = "what the memory of a process holds", apps = true,
    options = function() return { JSON, HELP } end, more = MORE },
  { name = "top", module = "top", usage = USAGE, text = "the workers of a primary, live", apps = true,
    options = function()
      return { { name = "seconds", short = "s", value = "N", help = "between looks (1)" }, JSON, HELP }
    end, more = MORE },
}

for _, verb in ipairs(verbs.list) do
  verb.module, verb.call = "lrun.probe.cli." .. verb.module, "run"
end

return verbs
