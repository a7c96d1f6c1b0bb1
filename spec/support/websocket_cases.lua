--- Runs rows of spec/websocket/*_cases.lua against an endpoint: whole, in one write with the handshake, cut at every byte, and byte
--- by byte. Each run is a connection of its own; some dozens are under way at once.
local await = require("await")
local peer = require("spec.support.websocket_peer")
local timers = require("timers")

local cases = {}

local TOGETHER = 48

-- Long enough for what was written to be read alone: this process is both ends.
local function turn()
  await(timers.setImmediate)
  await(timers.setImmediate)
end

local function endsItself(row) return #row > 2 and row[#row]:find("^close") ~= nil end

--- What a row says, and in which pieces: `{ name, behind = true }` or `{ name, cuts = { … } }`.
function cases.plans(row)
  local bytes = row[2]
  local plans = { { name = "whole", cuts = {} }, { name = "in one write with the handshake", behind = true } }
  if row.cut == false then
    plans[#plans + 1] = { name = "cut at its middle", cuts = { math.floor(#bytes / 2) } }
    return plans
  end
  local all = {}
  for at = 1, #bytes - 1 do
    plans[#plans + 1] = { name = "cut at " .. at, cuts = { at } }
    all[at] = at
  end
  if #all > 1 and #all < 200 then plans[#plans + 1] = { name = "byte by byte", cuts = all } end
  return plans
end

local function write(connection, bytes, cuts)
  local from = 1
  for _, at in ipairs(cuts) do
    connection:write(bytes:sub(from, at))
    from = at + 1
    turn()
  end
  connection:write(bytes:sub(from))
end

local function check(connection, row, plan, side, bytes)
  connection.name = plan.name
  if not plan.behind then write(connection, bytes, plan.cuts) end
  connection:expect(unpack(row, 3))
  if not endsItself(row) then connection:expect("close 1000") end
  if side == peer.server then connection:finish() end
  connection:expectEnd()
end

local function bytesOf(row, side) return row[2] .. (endsItself(row) and "" or side.close(1000)) end

-- Runs `f(plan)` for each plan of a row, `TOGETHER` at a time.
local function forEach(row, f)
  local plans = cases.plans(row)
  for from = 1, #plans, TOGETHER do
    local runs = {}
    for i = from, math.min(from + TOGETHER - 1, #plans) do runs[#runs + 1] = function() f(plans[i]) end end
    await.all(runs)
  end
end

--- A row of `cases(peer.client)` against a server that echoes.
---@param address integer|string
---@param headers string[]? further lines of the handshake
function cases.checkServer(row, address, headers)
  local bytes = bytesOf(row, peer.client)
  forEach(row, function(plan)
    local connection = peer.connect(address, { name = plan.name, headers = headers, behind = plan.behind and bytes })
    local ok, err = pcall(check, connection, row, plan, peer.client, bytes)
    connection:destroy()
    if not ok then error(err, 0) end
  end)
end

--- A raw server for rows of `cases(peer.server)`: `check(row, connect)` runs one against the client that echoes which
--- `connect(url)` opens.
---@param headers string[]? further lines of the answer
function cases.server(headers)
  local jobs = {}
  local server = peer.listen(function(connection)
    local job = jobs[tonumber(connection.line:match("^GET /(%d+) "))]
    local bytes = bytesOf(job.row, peer.server)
    connection:accept(headers, job.plan.behind and bytes)
    local ok, err = pcall(check, connection, job.row, job.plan, peer.server, bytes)
    connection:destroy()
    job.done(not ok and err or nil)
  end)
  return {
    close = server.close,
    check = function(row, connect)
      forEach(row, function(plan)
        local failure = await(function(done)
          jobs[#jobs + 1] = { row = row, plan = plan, done = done }
          connect(("ws://127.0.0.1:%d/%d"):format(server.port, #jobs))
        end)
        if failure then error(failure, 0) end
      end)
    end,
  }
end

return cases
