--- Which process a command means: a process id, an app of the manager's by its name, `#N` of either.
local processes = require("lrun.probe.cli.process")

local target = {}

local function usage(text, ...) error({ usage = text:format(...) }, 0) end
local function fail(text, hint) error({ exit = 3, code = "unknown-target", message = text, hint = hint }, 0) end

-- The document of an app.
local function app(run, name)
  local asking = require("lrun.manager.cli.asking")
  local ok, list = pcall(asking.chosen, run, { name })
  if ok and #list == 1 then return list[1] end
  if ok and #list > 1 then usage("%s: '%s' means %d apps: name one", run.verb.name, name, #list) end
  if type(list) == "table" and list.exit ~= 3 and list.code ~= "unknown-target" then error(list, 0) end
  fail(("there is no app '%s'"):format(name), ("a process id, or a name that lrun list shows: lrun %s 1234"):format(run.verb.name))
end

local function instanceOf(run, found, name, number, wantsPrimary)
  local running = {}
  for _, each in ipairs(found.instances) do
    if each.pid then running[#running + 1] = each end
    if each.number == number then
      if not each.pid then fail(("instance %d of '%s' does not run"):format(number, name), "lrun start " .. name) end
      return each.pid
    end
  end
  if number then fail(("'%s' has no instance %d"):format(name, number), ("it has %d"):format(#found.instances)) end
  if #running == 0 then fail(("'%s' does not run"):format(name), "lrun start " .. name) end
  if wantsPrimary and found.mode == "cluster" and found.keeper then return found.keeper end
  if #running == 1 then return running[1].pid end
  local names = {}
  for i, each in ipairs(running) do names[i] = ("%s#%d"):format(name, each.number) end
  usage("%s: '%s' has %d instances: name one: %s", run.verb.name, name, #running, table.concat(names, " "))
end

local function worker(primary, number)
  local connection = require("lrun.probe.cli.connect").must(processes.check(primary))
  local pid = connection:call("worker", { number = number })
  connection:close()
  return pid
end

--- The process that the command's one word means, checked.
---@param run table
---@param wantsPrimary boolean? of an app in cluster mode its primary is meant
---@return ProbedProcess
function target.find(run, wantsPrimary)
  local words = run.options.words
  if #words ~= 1 then usage("%s: which process? lrun %s PID, or the name of an app", run.verb.name, run.verb.name) end
  local word, number = words[1]:match("^(.-)#(%d+)$")
  if not word or word == "" then word, number = words[1], nil end
  number = tonumber(number)
  local pid = word:match("^%d+$") and tonumber(word)
  if pid then
    if pid < 1 or pid > 4194304 then fail(("there is no process %s"):format(word)) end
    return processes.check(number and worker(pid, number) or pid)
  end
  return processes.check(instanceOf(run, app(run, word), word, number, wantsPrimary))
end

return target
