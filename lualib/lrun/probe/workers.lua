--- The cluster whose primary this process is.
local wire = require("lrun.manager.wire")

local workers = {}

local function primary(answer)
  local cluster = require("lrun.core.loaded").cluster
  if cluster and cluster.isPrimary and cluster.workers and next(cluster.workers) ~= nil then return cluster end
  answer.fail{ code = "no-cluster", message = ("process %d is no primary with workers"):format(require("process").pid) }
end

--- What cluster.metrics tells, by worker.
function workers.metrics(_, _, answer)
  local cluster = primary(answer)
  if not cluster then return end
  local list = wire.list()
  for _, each in pairs(cluster.metrics()) do list[#list + 1] = each end
  table.sort(list, function(a, b) return a.id < b.id end)
  answer.ok(list)
end

--- The process id of worker `args.number`.
function workers.worker(_, args, answer)
  local cluster = primary(answer)
  if not cluster then return end
  local worker = cluster.workers[args.number]
  if worker then return answer.ok(worker.process.pid) end
  local known = {}
  for id in pairs(cluster.workers) do known[#known + 1] = id end
  table.sort(known)
  answer.fail{ code = "unknown-worker", message = ("there is no worker %s"):format(tostring(args.number)),
    hint = "it has the workers " .. table.concat(known, ", ") }
end

return workers
