--- The processes of an instance: its own and all that it started, also what left its session or lost its parent. The keeper is the
--- reaper of its orphans, so that all of them stay below it; an orphan is known by the LRUN_KEEPER it was started with.
local uv = require("luv")
local identity = require("lrun.manager.identity")
local supervise = require("lrun.core.supervise")

local POLL = 15                 -- ms between looks at processes that were asked to end
local GRACE = 1000              -- ms for what is left when an instance's own process has ended

local tree = {}

local reaperTimer

-- Children of ours that we did not start end as zombies: nobody else waits for them.
local function reap(isOurs)
  for _, pid in ipairs(identity.children(uv.os_getpid())) do
    if not isOurs(pid) then supervise.reap(pid) end
  end
end

--- Makes this process the parent of its orphans, and waits for them.
---@param isOurs fun(pid: integer): boolean whether a child is waited for by its own handle
function tree.adopt(isOurs)
  supervise.subreaper()
  local signal = uv.new_signal()
  signal:start("sigchld", function()
    -- A moment later, together: the handles of our own children come first.
    if reaperTimer:is_active() then return end
    reaperTimer:start(10, 0, function() reap(isOurs) end)
  end)
  signal:unref()
  reaperTimer = uv.new_timer()
  reaperTimer:unref()
end

-- Daemons and keepers may come to be below a keeper, when it started a daemon, or was left with another keeper.
local function isManager(pid) return identity.variable(pid, "LRUN_MANAGER") ~= nil end

local function addBelow(pid, list)
  for _, child in ipairs(identity.children(pid)) do
    if not isManager(child) then
      list[#list + 1] = child
      addBelow(child, list)
    end
  end
end

local function kill(pid, signal) uv.kill(pid, signal) end

--- The processes that belong to an instance, but not its own one.
---@param options { pid: integer?, mark: string?, alone: boolean, isOurs: fun(pid: integer): boolean } `alone`: there is no other
---@return integer[]
function tree.members(options)
  local found = {}
  if options.pid then addBelow(options.pid, found) end
  for _, child in ipairs(identity.children(uv.os_getpid())) do
    if not options.isOurs(child) and not isManager(child) then
      local mark = identity.variable(child, "LRUN_KEEPER")
      if mark and mark == options.mark or not mark and options.alone then
        found[#found + 1] = child
        addBelow(child, found)
      end
    end
  end
  return found
end

local function running(pids)
  local left = {}
  for _, pid in ipairs(pids) do if identity.isRunning(pid) then left[#left + 1] = pid end end
  return left
end

--- Ends what is left of an instance whose own process has ended: SIGTERM, then SIGKILL.
---@param find fun(): integer[] looks for the members anew: a fork may come between
---@param done fun()
function tree.finish(find, done)
  local pids = running(find())
  if #pids == 0 then return done() end
  for _, pid in ipairs(pids) do kill(pid, "sigterm") end
  local deadline = uv.now() + GRACE
  local timer = uv.new_timer()
  timer:start(POLL, POLL, function()
    pids = running(find())
    if #pids == 0 then
      timer:close()
      return done()
    end
    if uv.now() < deadline then return end
    for _, pid in ipairs(pids) do kill(pid, "sigkill") end
    if uv.now() > deadline + GRACE then      -- not even that ends it: it waits in the kernel
      timer:close()
      done()
    end
  end)
end

--- Kills what an app's former keeper left behind: processes that were started with its mark and are not below us.
---@param mark string what the value of LRUN_KEEPER begins with
---@return integer count
function tree.sweep(mark)
  local own = { [uv.os_getpid()] = true }
  for _, pid in ipairs(identity.descendants(uv.os_getpid())) do own[pid] = true end
  local count = 0
  for _, pid in ipairs(identity.all()) do
    local found = not own[pid] and identity.variable(pid, "LRUN_KEEPER")
    if found and found:sub(1, #mark + 1) == mark .. ":" and identity.isRunning(pid) then
      kill(pid, "sigkill")
      count = count + 1
    end
  end
  return count
end

return tree
