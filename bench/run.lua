--- Runs the programs of this directory and prints one table: `./dev bench [NAME [WORK]]`; WORK is a part of a row's name, for
--- programs that take long and ask bench.wants.
---
--- Each bench/<name>.lua returns a table:
---
---     return {
---       order = 10,              -- its place in the table
---       needs = { "wrk" },       -- commands without which it cannot run
---       run = function(bench)    -- measures, and calls bench.row or bench.compare (support/bench.lua)
---       end,
---     }
---
--- What it starts lies in programs/ (the Lua program beside its Node twin of the same name) and peers/ (C).
local fs = require("luv")
local bench = require("./support/bench")

local here = process.argv[1]:match("^(.*)/[^/]*$")

local function width(text) return #text:gsub("[\128-\191]", "") end

local function pad(text, size, right)
  local space = (" "):rep(size - width(text))
  return right and space .. text or text .. space
end

local function number(value)
  if value >= 1000 then
    local digits = ("%.0f"):format(value):reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
    return digits
  end
  return ("%.3g"):format(value)
end

local function verdict(target, value)
  if not target then return "" end
  local sign, limit = target:match("^([<>])=%s*([%d.]+)")
  local met
  if sign == "<" then met = value <= tonumber(limit) else met = value >= tonumber(limit) end
  return target:gsub("<=", "≤"):gsub(">=", "≥") .. (met and "" or "  MISSED")
end

local function cells(row)
  local ratio = row.other and row.lrun / row.other
  return {
    row.work,
    number(row.lrun) .. " " .. row.unit,
    row.peer and row.peer .. " " .. number(row.other) or "",
    ratio and ("%.3g"):format(ratio) or "",
    verdict(row.target, ratio or row.lrun),
  }
end

local function printTable(rows)
  local lines = { { "work", "lrun", "peer", "ratio", "target" } }
  for i, row in ipairs(rows) do
    local line, above = cells(row), rows[i - 1]
    if above and above.work == row.work then line[1], line[2] = "", "" end -- said in the line above
    lines[#lines + 1] = line
  end
  local widths = {}
  for _, line in ipairs(lines) do
    for i, cell in ipairs(line) do widths[i] = math.max(widths[i] or 0, width(cell)) end
  end
  for _, line in ipairs(lines) do
    local parts = {}
    for i, cell in ipairs(line) do parts[i] = pad(cell, widths[i], i == 4) end
    print((table.concat(parts, "  "):gsub("%s+$", "")))
  end
end

-- The programs whose names contain `wanted`, by their order.
local function programs(wanted)
  local list = {}
  for name in fs.fs_scandir_next, assert(fs.fs_scandir(here)) do
    local base = name:match("^(.*)%.lua$")
    if base and base ~= "run" and base:find(wanted, 1, true) then
      local program = dofile(here .. "/" .. name)
      program.name = base
      list[#list + 1] = program
    end
  end
  table.sort(list, function(a, b) return a.order < b.order end)
  return list
end

local function missing(program)
  for _, command in ipairs(program.needs or {}) do
    if not bench.find(command) then return command end
  end
end

local function machine()
  local info = fs.cpu_info() or {}
  local model = info[1] and info[1].model:gsub("%s+", " ") or "unknown processor"
  return ("%d × %s, lrun %s"):format(#info, model, process.version)
end

local function main()
  bench.root = here:match("^(.*)/[^/]*$")
  bench.lrun = process.execPath
  bench.scratch = bench.root .. "/build/bench"
  fs.fs_mkdir(bench.scratch, 493)

  bench.wanted = process.argv[3]
  local list = programs(process.argv[2] or "")
  if #list == 0 then
    bench.say("no such program: %s", process.argv[2])
    process.exit(2)
  end
  local failed = 0
  for _, program in ipairs(list) do
    local lacking = missing(program)
    if lacking then
      bench.say("%s: skipped, %s is not installed", program.name, lacking)
    else
      bench.say("%s", program.name)
      local ok, err = xpcall(program.run, function(e) return debug.traceback(tostring(e)) end, bench)
      if not ok then
        failed = failed + 1
        bench.say("%s FAILED: %s", program.name, err)
      end
      bench.stopAll()
    end
  end

  print(machine())
  print()
  printTable(bench.rows)
  for name in pairs(bench.skipped) do print(("(%s is not installed: skipped)"):format(name)) end
  process.exit(failed == 0 and 0 or 1)
end

main()
