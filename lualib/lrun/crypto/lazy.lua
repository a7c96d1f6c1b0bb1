--- Streams whose sides are made when somebody first uses them: most digests and ciphers get their data from `update`, and would pay
--- for a stream that nobody reads. All of a stream's methods look at `_rs` or `_ws` before anything else.
local lazy = {}

--- Makes the class's instances such streams.
---@param class table inherits from a class of `stream`; its `initialize` sets `_streamOptions`, and no stream up
---@param base table the class of `stream`
function lazy.install(class, base)
  local function start(object)
    object._rs, object._ws = false, false
    base.initialize(object, object._streamOptions)
  end
  for _, side in ipairs{ "_rs", "_ws" } do
    class:getter(side, function(object)
      start(object)
      return rawget(object, side)
    end)
  end

  --- As of every stream.
  function class:destroy(err)
    if rawget(self, "_ws") == nil then start(self) end
    return base.destroy(self, err)
  end
end

return lazy
