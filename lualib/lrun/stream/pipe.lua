--- `readable:pipe(destination)`: data one way, waiting for `drain` the other way.
--- Each pair's state is a record in the source's `_rs.pipes`, which holds the listeners to take away again.
local process = require("process")
local errors = require("errors")
local destroy = require("lrun.stream.destroy")

local pipe = {}

--- Whether it is one of the process's own outputs, which nobody finishes but the script.
function pipe.isStandard(stream)
  return stream == rawget(process, "stdout") or stream == rawget(process, "stderr")
end

local function remove(source, entry)
  if entry.removed then return end
  entry.removed = true
  local list = source._rs.pipes
  for i = 1, #list do
    if list[i] == entry then table.remove(list, i) break end
  end
  local destination = entry.destination
  source:off("data", entry.onData)
  source:off("end", entry.onEnd)
  destination:off("drain", entry.onDrain)
  destination:off("error", entry.onError)
  destination:off("close", entry.onClose)
  destination:off("finish", entry.onFinish)
  if entry.waiting then entry.onDrain() end
  destination:emit("unpipe", source)
end

-- The destination takes no more: what the source still has waits for whoever takes it up.
local function part(source, entry)
  remove(source, entry)
  if #source._rs.pipes == 0 and not source._rs.endEmitted then source:pause() end
end

-- The source flows again once no destination is full.
local function release(source, entry)
  if not entry.waiting then return end
  entry.waiting = false
  local rs = source._rs
  rs.awaitingDrain = rs.awaitingDrain - 1
  if rs.awaitingDrain == 0 and source:listenerCount("data") > 0 then source:resume() end
end

local function wait(source, entry)
  if entry.waiting or entry.removed then return end
  entry.waiting = true
  source._rs.awaitingDrain = source._rs.awaitingDrain + 1
  source:pause()
end

local function listeners(source, destination, entry, finish)
  function entry.onData(chunk)
    if destination:write(chunk) == false then wait(source, entry) end
  end
  function entry.onEnd()
    if not finish then return remove(source, entry) end
    destination:finish()             -- its `finish` or `close` parts them
  end
  function entry.onDrain() release(source, entry) end
  function entry.onError(err)
    part(source, entry)
    if destination:listenerCount("error") > 0 then return end
    -- Ours was the only listener: the error is nobody's but the caller's.
    if destination._ws and not destination._errorEmitted then
      destroy.withError(destination, err)
    else
      destination:emit("error", err)
    end
  end
  function entry.onClose() part(source, entry) end
  function entry.onFinish() part(source, entry) end
end

--- For sources that can give their bytes to a destination in another way than by `data`: the pipe, where that is all that
--- takes them just now. A source that flows no more because its destination is full still has one.
---@param source Readable
---@return table? entry its `destination` is what it is piped to
function pipe.sole(source)
  local rs = source._rs
  local list = rs.pipes
  local entry = list and #list == 1 and list[1]
  if not entry or rs.length > 0 or rs.ended or rs.readableListening then return nil end
  if not rs.flowing and not entry.waiting then return nil end
  local heard = source:listeners("data")
  return #heard == 1 and heard[1] == entry.onData and entry or nil
end

--- The destination took what it was given, and is full.
---@param source Readable
---@param entry table
function pipe.full(source, entry) wait(source, entry) end

function pipe.pipe(source, destination, options)
  if type(destination) ~= "table" or type(destination.write) ~= "function" then
    error(errors.argType("destination", "an instance of Writable", destination), 0)
  end
  local rs = source._rs
  local entry = {               -- constants only: one copy
    destination = false, waiting = false, removed = false,
    onData = false, onEnd = false, onDrain = false, onError = false, onClose = false, onFinish = false,
  }
  entry.destination = destination
  rs.pipes = rs.pipes or {}
  rs.pipes[#rs.pipes + 1] = entry
  local finish = options.finish ~= false and options["end"] ~= false and not pipe.isStandard(destination)
  listeners(source, destination, entry, finish)
  if rs.endEmitted then process.nextTick(entry.onEnd) else source:once("end", entry.onEnd) end
  destination:on("drain", entry.onDrain)
  destination:prependListener("error", entry.onError)
  destination:once("close", entry.onClose)
  destination:once("finish", entry.onFinish)
  source:on("data", entry.onData)
  destination:emit("pipe", source)
  if destination.writableNeedDrain == true then
    wait(source, entry)
  elseif not rs.flowing then
    source:resume()
  end
  return destination
end

function pipe.unpipe(source, destination)
  local list = source._rs.pipes
  if not list then return source end
  for i = #list, 1, -1 do
    local entry = list[i]
    if entry and (destination == nil or entry.destination == destination) then
      remove(source, entry)
      if destination ~= nil then break end
    end
  end
  if #list == 0 then source:pause() end
  return source
end

return pipe
