--- A prompt in this process for somebody who is attached: his inputs run here, one after the other, with locals of his own; values
--- and errors go back to him as text. An input that waits gives the loop its time; one that does not end is stopped when he says
--- so, or is gone (runtime/probe/guard.c).
local vm = require("lrun.core.vm")
local probe = require("lrun.core.probe")
local chunks = require("lrun.repl.chunk")
local complete = require("lrun.repl.complete")
local copies = require("lrun.probe.copies")
local programs = require("lrun.host.modules")

local session = {}

local CHUNK_NAME = "=attach"
local LONGEST = 256 * 1024          -- bytes of what an input gives that are shown

local sessions = setmetatable({}, { __mode = "k" })       -- client → what belongs to it

-- What names stand for: the locals of the prompt, the globals of the program, the built-in modules.
local function newScope(own)
  local scope = require("lrun.repl.locals").new()
  local names = {}
  for _, name in ipairs(complete.modules()) do names[name] = true end
  local function offer(environment)
    local meta = getmetatable(environment)
    if meta.offers then return environment end
    local before = meta.__index
    meta.offers = true
    meta.__index = function(t, key)
      local value = before(t, key)
      if value == nil and key == "_" then return own.last end
      if value == nil and names[key] then return programs.require(key) end
      return value
    end
    return environment
  end
  return { chunk = function(source, compile)
    local chunk = scope.chunk(source, compile)
    offer(scope.environment)
    return chunk
  end, environment = function() return offer(scope.environment) end, names = scope.names }
end

local function sessionOf(client)
  local found = sessions[client]
  if not found then
    found = {}
    found.scope = newScope(found)
    sessions[client] = found
    table.insert(client.atEnd, function() if found.running then found.running.giveUp() end end)
  end
  return found
end

local function shorten(text)
  if #text <= LONGEST then return text end
  return text:sub(1, LONGEST) .. ("\n… %d bytes more"):format(#text - LONGEST)
end

local function show(args, count, ...)
  local texts, long = {}, false
  for i = 1, count do
    local value = (select(i, ...))
    local ok, text = pcall(require("inspect").inspect, value, { colors = args.colors == true, breakLength = args.columns or 80 })
    texts[i] = ok and text or "(cannot be shown: " .. tostring(text) .. ")"
    long = long or texts[i]:find("\n", 1, true) ~= nil
  end
  return shorten(table.concat(texts, long and "\n" or "\t"))
end

-- Compiled code does not notice that it is to stop: what was typed is never compiled, and nothing is while it runs.
local function guarded(fd, f)
  local compiling = jit.status()
  jit.off()
  local stopped = probe.guarded(fd, f)
  if compiling then jit.on() end
  return stopped
end

local function compile(source) return chunks.compile(source, CHUNK_NAME) end

--- Runs `args.source`. Answers { text }: the values, or { text, failed = true }: the error. What is printed meanwhile, by
--- whomever, comes as events { output }.
function session.eval(client, args, answer)
  if client.closed then return end
  local own = sessionOf(client)
  if own.running then return answer.fail{ code = "busy", message = "the input before has not ended" } end
  local source = tostring(args.source)
  local chunk, err = compile(source)
  if not chunk then return answer.ok{ text = require("lrun.host.hints").below(err, source), failed = true } end
  chunk = own.scope.chunk(source, compile)
  jit.off(chunk, true)
  local running, fd = {}, client.pipe:fileno()
  own.running = running
  local function finish(result)
    if running.over then return end
    running.over, own.running = true, nil
    if running.co then probe.waits(fd, nil) end
    copies.flush()
    answer.ok(result)
  end
  running.giveUp = function() finish{ text = "interrupted: the input that waited was given up", failed = true } end
  local describe = vm.handler(function(thread, failure)
    return require("lrun.host.uncaught").describe(thread, failure, { colors = args.colors == true, short = true })
  end)
  local function ended(ok, ...)
    if ok then
      if select("#", ...) > 0 then own.last = (...) end
      return finish{ text = show(args, select("#", ...), ...), count = select("#", ...) }
    end
    finish{ text = shorten(tostring((...))), failed = true }
  end
  -- Behind the lines that came with this one: the next may be what stops it.
  require("process").nextTick(function()
    if running.over or client.closed then return end
    local co
    local stopped = guarded(fd, function()
      co = coroutine.running()
      ended(xpcall(chunk, describe))
    end)
    if stopped then return running.giveUp() end
    if running.over then return end
    running.co = co
    probe.waits(fd, co)
  end)
end

--- Gives up the input that waits.
function session.interrupt(client, _, answer)
  local running = sessionOf(client).running
  if running then running.giveUp() end
  answer.ok(true)
end

--- What `args.before` may go on to: { partial, candidates }.
function session.complete(client, args, answer)
  local scope = sessionOf(client).scope
  local ok, partial, candidates = pcall(complete.complete, tostring(args.before), scope.environment(), scope.names())
  if not ok then partial, candidates = "", {} end
  answer.ok{ partial = partial, candidates = require("lrun.manager.wire").list(candidates) }
end

--- From now on what the process prints comes as events { output } of this call.
function session.output(client, _, answer) copies.add(client, answer.event) end

return session
