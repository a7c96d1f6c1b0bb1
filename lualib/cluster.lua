--- cluster: one program on all processors. The module of the primary or of the worker, by what `cluster.fork` left in
--- the environment; it is gone from there before the script looks.
local id, slot = process.env.LRUN_CLUSTER_ID, process.env.LRUN_CLUSTER_SLOT
if id then
  process.env.LRUN_CLUSTER_ID, process.env.LRUN_CLUSTER_SLOT = nil, nil
  return require("lrun.cluster.worker").start(tonumber(id), tonumber(slot))
end
return require("lrun.cluster.primary")
