-- pipeline.lua: a script for wrk: sixteen requests in one write.
local batch

function init()
  local one = wrk.format("GET", "/")
  batch = one:rep(16)
end

function request() return batch end
