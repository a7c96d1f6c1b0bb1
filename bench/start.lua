--- Start and end of an empty script, beside luajit's own and Node's.
local rounds, each = 5, 40

return {
  order = 10,
  run = function(bench)
    local launch = bench.compile("launch")
    local lua, js = bench.file("bench/programs/empty.lua"), bench.file("bench/programs/empty.js")
    local runs = {
      { name = "lrun", command = bench.lrun, script = lua, times = {} },
      { name = "luajit", command = bench.find("luajit"), script = lua, times = {} },
      { name = "node", command = bench.find("node"), script = js, times = {}, slow = true },
      { name = "bun", command = bench.find("bun"), script = js, times = {}, slow = true },
    }
    for _ = 1, rounds do
      for _, run in ipairs(runs) do
        if run.command then
          local times = tostring(run.slow and 5 or each)
          local text = bench.output(launch, { times, run.command, run.script })
          table.insert(run.times, tonumber(text) / 1000)
        end
      end
    end
    local median = {}
    for _, run in ipairs(runs) do median[run.name] = run.command and bench.median(run.times) end
    bench.row { work = "start and end of an empty script", unit = "ms", lrun = median.lrun, target = "<= 3" }
    bench.compare("start and end of an empty script", "ms", median.lrun, {
      { "luajit", median.luajit, "<= 2.5" },
      { "node", median.node },
      { "bun", median.bun },
    })
  end,
}
