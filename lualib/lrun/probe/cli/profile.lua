--- `lrun profile`: samples of where a process spends its time, as a table by function, as folded stacks, or as a flame graph. One that
--- does not return to its loop is asked again and again where it is, by its signal.
local uv = require("luv")
local connect = require("lrun.probe.cli.connect")

local profile = {}

local LONGEST = 3600                -- s
local ROWS = 40
local PATIENCE = 1500               -- ms
local EVERY = 20                    -- ms between questions to a process that does not return

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

local function readOptions(run)
  local options = run.options
  local seconds = options.seconds == nil and 10 or tonumber(options.seconds)
  if not (seconds and seconds >= 0.1 and seconds <= LONGEST) then
    usage("profile: --seconds is a number from 0.1 to %d, not '%s'", LONGEST, options.seconds)
  end
  for _, name in ipairs{ "svg", "folded" } do if options[name] == "" then usage("profile: --%s needs the name of a file", name) end end
  return seconds
end

-- Opened before anything is measured. It replaces what is there only when there is something to write.
local function checkFile(path)
  local folder = path:match("^(.*)/[^/]*$") or "."
  if folder == "" then folder = "/" end
  local stat = uv.fs_stat(path)
  if stat and stat.type == "directory" then error({ exit = 1, code = "file", message = ("'%s' is a directory"):format(path) }, 0) end
  if uv.fs_access(stat and path or folder, "W") then return end
  error({ exit = 1, code = "file", message = ("cannot write '%s': %s"):format(path,
    uv.fs_stat(folder) and "permission denied" or "there is no such folder") }, 0)
end

local function write(path, text)
  local file, reason = io.open(path, "wb")
  local ok = file and file:write(text)
  if file then ok = file:close() and ok end
  if ok then return end
  error({ exit = 1, code = "file", message = ("cannot write '%s': %s"):format(path, (reason or "disk full"):gsub("^.-: ", "")) }, 0)
end

-- As LuaJIT's profiler writes stacks: the outermost function first.
local function stackOf(frames, nameOf)
  local names = {}
  for i = #frames, 1, -1 do if not frames[i].isRuntime then names[#names + 1] = nameOf(frames[i]) end end
  return #names > 0 and table.concat(names, ";") or "(C)"
end

-- Of a process that never returns.
local function askOften(process, seconds)
  local counts, samples, startedAt = {}, 0, uv.hrtime()
  local nameOf = require("lrun.probe.cli.report").namer(process)
  while uv.hrtime() - startedAt < seconds * 1e9 do
    local found = connect.settled(process)
    if not found then break end
    local stack = stackOf(found.frames, nameOf)
    counts[stack], samples = (counts[stack] or 0) + 1, samples + 1
    connect.sleep(EVERY)
  end
  local list = {}
  for stack, count in pairs(counts) do list[#list + 1] = { stack = stack, count = count } end
  return { samples = samples, seconds = (uv.hrtime() - startedAt) / 1e9, stacks = list }
end

local function sample(process, seconds)
  local connection, found = connect.open(process, PATIENCE)
  if not connection and not found then connect.must(process) end
  if not connection then
    io.stderr:write(("lrun: process %d does not return to its loop: its signal's handler tells where it is, %d times a second\n"):format(
      process.pid, 1000 / EVERY))
    return askOften(process, seconds)
  end
  local answer = connection:call("profile", { seconds = seconds, interval = 1 })
  connection:close()
  return answer
end

-- By function: samples in it, and in it or what it called.
local function byFunction(answer)
  local own, all, total = {}, {}, 0
  for _, each in ipairs(answer.stacks) do
    local seen, last = {}, nil
    for frame in each.stack:gmatch("[^;]+") do
      if not seen[frame] then all[frame] = (all[frame] or 0) + each.count end
      seen[frame], last = true, frame
    end
    if last then own[last] = (own[last] or 0) + each.count end
    total = total + each.count
  end
  local list = {}
  for frame, count in pairs(all) do list[#list + 1] = { name = frame, own = own[frame] or 0, all = count } end
  table.sort(list, function(a, b)
    if a.own ~= b.own then return a.own > b.own end
    if a.all ~= b.all then return a.all > b.all end
    return a.name < b.name
  end)
  return list, total
end

local function headOf(process, answer)
  local text = ("process %d: %d samples in %.1f s"):format(process.pid, answer.samples, answer.seconds)
  return answer.processor and ("%s, of which it used the processor for %.2f s"):format(text, answer.processor) or text
end

local function printTable(process, answer)
  local list, total = byFunction(answer)
  io.stdout:write(headOf(process, answer), "\n")
  if total == 0 then return io.stdout:write("it did nothing: it waits, as lrun stack shows\n") end
  io.stdout:write("   self    with calls  function\n")
  for i = 1, math.min(ROWS, #list) do
    local each = list[i]
    io.stdout:write(("%6.1f %%  %8.1f %%  %s\n"):format(100 * each.own / total, 100 * each.all / total, each.name))
  end
  if #list > ROWS then io.stdout:write(("… %d more\n"):format(#list - ROWS)) end
end

local function folded(answer)
  local lines = {}
  for i, each in ipairs(answer.stacks) do lines[i] = ("%s %d\n"):format(each.stack:gsub("\n", " "), each.count) end
  table.sort(lines)
  return table.concat(lines)
end

--- The command.
function profile.run(run)
  local options, seconds = run.options, readOptions(run)
  for _, name in ipairs{ "svg", "folded" } do if options[name] then checkFile(options[name]) end end
  local process = require("lrun.probe.cli.target").find(run)
  local answer = sample(process, seconds)
  if options.folded then write(options.folded, folded(answer)) end
  if options.svg then write(options.svg, require("lrun.probe.cli.flame").svg(answer.stacks, headOf(process, answer))) end
  if options.json then return require("lrun.manager.cli.show").json(answer) end
  if options.text or not (options.svg or options.folded) then return printTable(process, answer) end
  io.stdout:write(headOf(process, answer), "\n")
end

return profile
