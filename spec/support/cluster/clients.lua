--- Clients of the cluster specs, over luv, so that they depend on nothing that is tested.
local await = require("await")
local uv = require("luv")

local clients = {}

local LIMIT = 20000     -- ms for what has to come, on whatever machine

--- Opens a connection and calls `done(text, problem)` when it has ended.
---@param port integer
---@param done fun(text: string, problem: string?)
---@param from string? the client's own address
---@return uv_tcp_t handle
function clients.connect(port, done, from)
  local handle, parts = uv.new_tcp(), {}
  if from then assert(handle:bind(from, 0)) end
  local function finish(problem)
    if not handle:is_closing() then handle:close() end
    if done then done(table.concat(parts), problem) end
    done = nil
  end
  assert(handle:connect("127.0.0.1", port, function(err)
    if err then return finish("connect " .. err) end
    handle:read_start(function(failed, chunk)
      if chunk then parts[#parts + 1] = chunk return end
      finish(failed and "read " .. failed)
    end)
  end))
  return handle
end

-- Keeps `concurrency` connections under way as long as goesOn(), asked before each; waits for their ends.
local function flow(port, concurrency, goesOn, from)
  local answers, problems, running = {}, {}, 0
  await(function(callback)
    local function fill()
      while running < concurrency and goesOn() do
        running = running + 1
        clients.connect(port, function(text, problem)
          if problem or text == "" then problems[#problems + 1] = problem or "no answer" end
          answers[text] = (answers[text] or 0) + 1
          running = running - 1
          fill()
        end, from)
      end
      if running == 0 then callback() end
    end
    fill()
  end)
  return answers, problems
end

--- Runs `count` connections, `concurrency` at a time; waits for their ends.
---@return table<string, integer> answers how often each text came
---@return string[] problems
function clients.run(port, count, concurrency, from)
  local started = 0
  return flow(port, concurrency, function()
    started = started + 1
    return started <= count
  end, from)
end

--- Runs connections, `concurrency` at a time, until `enough()` holds; throws when that takes too long.
---@return table<string, integer> answers how often each text came
---@return string[] problems
function clients.drive(port, concurrency, enough, what)
  local ends, done = uv.hrtime() + LIMIT * 1e6, false
  local answers, problems = flow(port, concurrency, function()
    done = done or enough()
    return not done and uv.hrtime() < ends
  end)
  if not done then error("timed out waiting for " .. what, 2) end
  return answers, problems
end

--- HTTP clients under way: `stop()` ends them after their last answer.
---@param port integer
---@param options { keepAlive: integer, single: integer } how many of each kind
---@return { requests: integer, problems: string[], stop: fun() }
function clients.load(port, options)
  local load = { requests = 0, problems = {}, running = 0 }
  local stopping, stopped = false, nil
  local giveUp = {}       -- handle → ends its client

  local function ended()
    load.running = load.running - 1
    if load.running == 0 and stopped then stopped() end
  end

  local function client(single)
    local handle, received = uv.new_tcp(), ""
    local function again(problem)
      giveUp[handle] = nil
      if problem then load.problems[#load.problems + 1] = problem end
      if not handle:is_closing() then handle:close() end
      if stopping then return ended() end
      client(single)
    end
    giveUp[handle] = again
    local function ask()
      received = ""
      handle:write(("GET / HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(single and "Connection: close\r\n" or ""))
    end
    handle:connect("127.0.0.1", port, function(err)
      if err then return again("connect " .. err) end
      handle:read_start(function(failed, chunk)
        if not chunk then return again(("%s after %q"):format(failed or "end", received)) end
        received = received .. chunk
        local head, body = received:match("^(.-)\r\n\r\n(.*)$")
        local length = head and tonumber(head:match("[Cc]ontent%-[Ll]ength: (%d+)"))
        if not length or #body < length then return end
        load.requests = load.requests + 1
        if not head:find("^HTTP/1.1 200") then return again(head) end
        if stopping or head:lower():find("connection: close", 1, true) then return again() end
        ask()
      end)
      ask()
    end)
  end

  for i = 1, options.keepAlive + options.single do
    load.running = load.running + 1
    client(i > options.keepAlive)
  end

  function load.stop()
    stopping = true
    local limit = uv.new_timer()
    await(function(callback)
      stopped = callback
      limit:start(LIMIT, 0, function()
        local late = {}
        for _, again in pairs(giveUp) do late[#late + 1] = again end
        for _, again in ipairs(late) do again("no answer") end
      end)
      if load.running == 0 then callback() end
    end)
    limit:close()
  end
  return load
end

local NEVER = {}

local function check(name, first, ...)
  if first == NEVER then error(("no %s event"):format(name), 3) end
  return first, ...
end

--- Waits for one event of an emitter; throws when it does not come.
---@return any ... the event's arguments
function clients.event(emitter, name)
  return check(name, await(function(callback)
    local timer = uv.new_timer()
    local function listener(...)
      timer:close()
      callback(...)
    end
    emitter:once(name, listener)
    timer:start(LIMIT, 0, function()
      timer:close()
      emitter:off(name, listener)
      callback(NEVER)
    end)
  end))
end

--- Waits until `condition()` holds.
function clients.untilTrue(condition, what)
  local ends = uv.hrtime() + LIMIT * 1e6
  while not condition() do
    if uv.hrtime() > ends then error("timed out waiting for " .. what, 2) end
    await.sleep(5)
  end
end

return clients
