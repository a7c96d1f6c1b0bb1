--- What rooms do when this process is to end gently, before its servers' connections have ended: they say good-bye to
--- those who would stay. A program's own listener of `cluster.worker`'s `drain` does it in their place.
local leaving = {}

local farewells = {}

--- `f(limit)` is called once, when this process is to end; `limit` are the ms until it is ended, nil where nobody said.
---@param f fun(limit: integer?)
function leaving.add(f) farewells[#farewells + 1] = f end

--- It is to end.
---@param limit integer? ms
function leaving.run(limit)
  local all = farewells
  farewells = {}
  for _, f in ipairs(all) do f(limit) end
end

return leaving
