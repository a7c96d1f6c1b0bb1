--- cluster: one program on all processors. The module of the primary or of the worker, by what `cluster.fork` left in
--- the environment; it is gone from there before the script looks.
local id = process.env.LRUN_CLUSTER_ID
if id then
  process.env.LRUN_CLUSTER_ID = nil
  return require("lrun.cluster.worker").start(tonumber(id))
end
return require("lrun.cluster.primary")
