--- A stream as lines. Source: Node 20's `readline`, without its line editor: the prompt has that.
---
--- An Interface takes the chunks of its input, cuts them at LF, CR LF or a lone CR, and gives each line to the listeners of
--- `line`, or, once somebody has asked for `lines()` or `question`, to a queue. While the queue holds something the input is
--- paused, so it holds no more than the lines of one chunk; a line that has no end is bounded by `limit`.
local await = require("await")
local calls = require("lrun.check.calls")
local errors = require("errors")
local events = require("events")
local validate = require("lrun.check.validate")

local DEFAULT_LIMIT = 16 * 1024 * 1024

--- Event line(line: string)
--- Event pause()
--- Event resume()
--- Event close()
--- Event error(err: Error)
---@class Interface: EventEmitter
---@field input Readable
---@field output Writable?
---@field closed boolean
local Interface = events.EventEmitter:extend("Interface")

---@class ReadlineOptions
---@field input Readable where the lines come from
---@field output Writable? where `prompt` and `question` write
---@field prompt string? "> "
---@field limit integer? bytes that a line may have, 16 MiB; more is an `error` with `ERR_BUFFER_TOO_LARGE`
---@field signal AbortSignal? closes the interface
---@field crlfDelay number? accepted: CR and LF are one end of a line however far apart they come

local function write(self, question)
  if self.output then self.output:write(question.text) end
end

-- The answer to a question; the next one's turn comes behind what its callback writes.
local function answer(self, line)
  local question = table.remove(self._asked, 1)
  local following = self._asked[1]
  question.callback(line)
  if following and following == self._asked[1] and not self.closed then write(self, following) end
end

local function deliver(self, line)
  if self._asked[1] then return answer(self, line) end
  if self._queue then
    self._queue[#self._queue + 1] = line
  else
    self:emit("line", line)
  end
end

local function tooLong(limit)
  return errors.coded("ERR_BUFFER_TOO_LARGE", ("A line is longer than the limit of %d bytes"):format(limit))
end

-- One more chunk; what is behind its last end of line is kept in pieces, so that a long line costs no copies.
local function split(self, chunk)
  local at = 1
  if self._afterReturn and chunk:byte() == 10 then at = 2 end
  if chunk ~= "" then self._afterReturn = chunk:byte(-1) == 13 end
  while not self.closed do
    local stop = chunk:find("[\r\n]", at)
    if not stop then break end
    self._pieces[#self._pieces + 1] = chunk:sub(at, stop - 1)
    local line = table.concat(self._pieces)
    self._pieces, self._kept = {}, 0
    if #line > self._limit then return self:_fail(tooLong(self._limit)) end
    at = stop + (chunk:find("^\r\n", stop) and 2 or 1)
    deliver(self, line)
  end
  if self.closed or at > #chunk then return end
  self._pieces[#self._pieces + 1] = chunk:sub(at)
  self._kept = self._kept + #chunk - at + 1
  if self._kept > self._limit then self:_fail(tooLong(self._limit)) end
end

-- Every loop that waits looks again, in the order in which they came; one that finds nothing waits anew, behind the others.
local function wake(self)
  local waiting = self._waiting
  if #waiting == 0 then return end
  self._waiting = {}
  for _, callback in ipairs(waiting) do callback() end
end

-- Holds the input up while lines wait to be taken.
local function hold(self)
  if self._queue and self._queue[self._next] ~= nil then self.input:pause() end
end

--- Internal: the input has failed, or said too much.
---@param err Error
function Interface:_fail(err)
  if self.closed then return end
  self._failure = err
  self:close()
  if not self._queue or self:listenerCount("error") > 0 then self:emit("error", err) end
end

---@param options ReadlineOptions
function Interface:initialize(options)
  validate.table(options, "options")
  local input, output = options.input, options.output
  if type(input) ~= "table" or type(input.on) ~= "function" or type(input.resume) ~= "function" then
    error(errors.argType("options.input", "an instance of Readable", input), 0)
  end
  if output ~= nil and (type(output) ~= "table" or type(output.write) ~= "function") then
    error(errors.argType("options.output", "an instance of Writable", output), 0)
  end
  self.input, self.output, self.closed = input, output, false
  self._prompt = validate.optional(validate.string, options.prompt, "options.prompt") or "> "
  self._limit = validate.optional(validate.integer, options.limit, "options.limit", 1) or DEFAULT_LIMIT
  self._pieces, self._kept, self._afterReturn = {}, 0, false
  self._queue, self._next, self._asked, self._waiting = false, 1, {}, {}
  self._inputListeners = {
    data = function(chunk)
      split(self, chunk)
      hold(self)
      wake(self)
    end,
    ["end"] = function()
      local last = table.concat(self._pieces)
      self._pieces = {}
      if last ~= "" then deliver(self, last) end
      self:close()
    end,
    error = function(err) self:_fail(err) end,
    close = function() self:close() end,
  }
  for name, listener in pairs(self._inputListeners) do input:on(name, listener) end
  local aborting = require("lrun.check.aborting")
  if options.signal ~= nil then aborting.follow(self, aborting.check(options.signal), function() self:close() end) end
end

--- Stops reading. What the input still has stays there. Harmless when closed already.
function Interface:close()
  if self.closed then return end
  self.closed = true
  for name, listener in pairs(self._inputListeners) do self.input:off(name, listener) end
  if not self.input.destroyed then self.input:pause() end
  self:emit("close")
  wake(self)
end

--- Lets no more lines come, until `resume`.
---@return self
function Interface:pause()
  if self.closed then return self end
  self.input:pause()
  self:emit("pause")
  return self
end

--- Lets lines come again.
---@return self
function Interface:resume()
  if self.closed then return self end
  self.input:resume()
  self:emit("resume")
  return self
end

--- What `prompt` writes.
---@param text string
function Interface:setPrompt(text) self._prompt = validate.string(text, "prompt") end

--- What `prompt` writes.
---@return string
function Interface:getPrompt() return self._prompt end

--- Writes the prompt to the output.
function Interface:prompt()
  if self.output then self.output:write(self._prompt) end
  if not self._queue then self:resume() end
end

--- Writes a question to the output; the next line goes to `callback` alone. Awaited: `local answer = await(rl.question, rl, "Name? ")`.
--- A question that is asked while another waits is written when that one was answered.
---@param text string
---@param callback fun(answer: string)
function Interface:question(text, callback)
  validate.string(text, "query")
  validate.func(callback, "callback")
  if self.closed then error(errors.coded("ERR_USE_AFTER_CLOSE", "readline was closed"), 0) end
  local asked, queue = self._asked, self._queue
  local question = { text = text, callback = callback }
  asked[#asked + 1] = question
  if #asked > 1 then return end
  write(self, question)
  if queue and queue[self._next] ~= nil then return answer(self, (self:_take())) end
  self.input:resume()
end

--- Internal: the next line that waits.
function Interface:_take()
  local queue, at = self._queue, self._next
  local line = queue[at]
  queue[at] = nil
  self._next = at + 1
  if queue[self._next] == nil then self._queue, self._next = {}, 1 end
  return line
end

-- For await: calls back when there is something new to look at.
local function wait(self, callback)
  table.insert(self._waiting, callback)
  self.input:resume()
end

--- The lines that have not come yet, for a loop in a coroutine: `for line in rl:lines() do`. The loop holds the input up while
--- its body runs; an error of the input is thrown in it. Leaving it early does not close the interface. Of several loops at
--- once each line goes to one.
---@return fun(): string? next
function Interface:lines()
  self._queue = self._queue or {}
  return function()
    while self._queue[self._next] == nil do
      if self._failure then error(self._failure, 0) end
      if self.closed then return nil end
      await(wait, self)
    end
    return self:_take()
  end
end

calls.methods(Interface, "rl", { new = true })

---@class readline
---@field Interface Interface the class
local readline = { Interface = Interface }

--- Reads a stream line by line.
---@overload fun(input: Readable, output: Writable?): Interface
---@param options ReadlineOptions
---@param output Writable? where `prompt` and `question` write, when the first argument is the input itself
---@return Interface
function readline.createInterface(options, output)
  if type(options) == "table" and options.input == nil and type(options.on) == "function" then
    options = { input = options, output = output }
  end
  return Interface:new(options)
end

calls.functions(readline, "readline")

return readline
