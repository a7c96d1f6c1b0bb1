local http = require("http")
local net = require("net")
local timers = require("timers")
local children = require("spec.support.children")
local servers = require("spec.support.servers")

-- Handlers, clients and servers that do anything at any time: whatever they do, each listener hears each end once, each
-- callback gets one answer, nobody gets what is another's, and no error is uncaught.
describe("http among programs that do anything", function()
  local random = math.random
  local LARGE = ("x"):rep(3 * 1024 * 1024) -- more than a socket takes
  local uncaught

  local function onUncaught(err) uncaught[#uncaught + 1] = tostring(err) end

  before_each(function()
    uncaught = {}
    math.randomseed(11)
    process:on("uncaughtException", onUncaught)
  end)

  after_each(function()
    process:off("uncaughtException", onUncaught)
    servers.close()
  end)

  -- Now, or a little later.
  local function sometime(f)
    local way = random(4)
    if way == 1 then f()
    elseif way == 2 then process.nextTick(f)
    elseif way == 3 then timers.setImmediate(f)
    else timers.setTimeout(f, random(0, 10)) end
  end

  -- What one message has heard, and the callbacks that were given to it.
  local function newStory(name) return { name = name, log = {}, counts = {}, answers = {} } end

  local function listen(story, label, emitter, names)
    for _, name in ipairs(names) do
      emitter:on(name, function()
        local line = label .. " " .. name
        story.counts[line] = (story.counts[line] or 0) + 1
        story.log[#story.log + 1] = line
      end)
    end
  end

  local function callback(story, name)
    story.answers[name] = 0
    return function() story.answers[name] = story.answers[name] + 1 end
  end

  -- What is wrong with a story; nil when it is well told.
  local function fault(story, once)
    local text = story.name .. ": " .. table.concat(story.log, ", ")
    for line, count in pairs(story.counts) do if count > 1 then return line .. " twice; " .. text end end
    for name, count in pairs(story.answers) do if count ~= 1 then return ("%d answers to %s; %s"):format(count, name, text) end end
    for _, line in ipairs(once) do if not story.counts[line] then return "no " .. line .. "; " .. text end end
    return nil
  end

  local ways = {
    function(_, res, story) res:finish("hello", callback(story, "finish")) end,
    function(_, res, story) res:finish(LARGE, callback(story, "finish")) end,
    function(req, res, story)
      req:on("data", function() end)
      res:finish("hello", callback(story, "finish"))
    end,
    function(_, res, story)
      res:write(LARGE, callback(story, "write"))
      res:finish("b", callback(story, "finish"))
    end,
    function(_, res, story)
      res:write("a", callback(story, "write"))
      sometime(function() res:finish(callback(story, "finish")) end)
    end,
    function(_, res) res:destroy() end,
    function(_, res) res:destroy("boo") end,
    function(_, res, story) res:finish("x", callback(story, "finish")) res:destroy() end,
    function(req) req:destroy() end,
    function(req, res, story) res:finish("x", callback(story, "finish")) req:destroy("why") end,
    function(req, res, story) res:finish("x", callback(story, "finish")) req.socket:destroySoon() end,
    function(req, res, story) req.socket:destroy() res:finish("late", callback(story, "finish")) end,
    function(req, res, story) req.socket:destroy("boo") res:finish("late", callback(story, "finish")) end,
  }

  local function requestText(number)
    local body = random(3) == 1 and ("z"):rep(random(2) == 1 and 10 or 70000) or nil
    return ("%s /%d HTTP/1.1\r\nHost: x\r\n%s%s\r\n%s"):format(body and "POST" or "GET", number,
      random(5) == 1 and "Connection: close\r\n" or "", body and ("Content-Length: %d\r\n"):format(#body) or "", body or "")
  end

  -- A client that sends some requests, perhaps not all of the last, and leaves in some way at some time.
  local function visit(port, done)
    local client = net.connect { port = port, host = "127.0.0.1" }
    client:on("error", function() end)
    client:on("close", done)
    local text = ""
    for i = 1, random(3) do text = text .. requestText(i) end
    client:write(random(6) == 1 and text:sub(1, random(#text)) or text)
    if random(4) > 1 then client:resume() end
    timers.setTimeout(function()
      client:resume()
      local way = random(3)
      if way == 1 then client:resetAndDestroy() elseif way == 2 then client:destroy() else client:finish() end
    end, random(0, 20))
  end

  it("tells every request and response its end once", function()
    local stories, open, left = {}, 0, 200
    local options = { keepAliveTimeout = 100, headersTimeout = 1000, requestTimeout = 1000 }
    local port = servers.serve(options, function(req, res)
      local story = newStory(req.url)
      stories[#stories + 1] = story
      local function watch()
        listen(story, "req", req, { "end", "close" })
        listen(story, "res", res, { "finish", "close" })
        if random(2) == 1 then
          listen(story, "req", req, { "error" })
          listen(story, "res", res, { "error" })
        end
      end
      local way, late = random(#ways), random(3) == 1
      story.log[1] = "way " .. way
      if not late then watch() end
      sometime(function()
        local over = res.closed or req.closed
        ways[way](req, res, story)
        if not late then return end
        watch()
        story.tooLate = over
      end)
    end)
    local function gone()
      open = open - 1
      if left == 0 then return end
      left, open = left - 1, open + 1
      visit(port, gone)
    end
    for _ = 1, 20 do
      left, open = left - 1, open + 1
      visit(port, gone)
    end
    local faults
    children.eventually(function() return left == 0 end)
    children.eventually(function() return open == 0 end)
    children.eventually(function()
      faults = {}
      for _, story in ipairs(stories) do faults[#faults + 1] = fault(story, story.tooLate and {} or { "req close", "res close" }) end
      return #faults == 0
    end)
    assert.same({}, faults)
    assert.is_true(#stories > 50)
    assert.same({}, uncaught)
  end)

  -- How a server answers the request for /`tag`: right, or not.
  local function reply(tag, field) return ("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s"):format(field or "", #tag, tag) end

  local answers = {
    function(socket, tag) socket:write(reply(tag)) end,
    function(socket, tag) timers.setTimeout(function() socket:write(reply(tag)) end, random(0, 5)) end,
    function(socket, tag) socket:write(reply(tag) .. reply("another's")) end,
    function(socket, tag) socket:write(reply(tag) .. "junk") end,
    function(socket, tag) socket:write(reply(tag) .. "HTTP/1.1 200 OK\r\nX:") end,
    function(socket, tag) socket:write(reply(tag, "Connection: close\r\n")) socket:destroySoon() end,
    function(socket, tag) socket:write(reply(tag):sub(1, -3)) socket:destroySoon() end,
    function(socket) socket:resetAndDestroy() end,
    function(socket, tag) socket:write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\n" .. reply(tag)) end,
  }

  local function lie(socket)
    local buffer, skip = "", 0
    socket:on("error", function() end)
    socket:on("data", function(data)
      local taken = math.min(skip, #data)
      skip, buffer = skip - taken, buffer .. data:sub(taken + 1)
      while not socket.destroyed do
        local head, rest = buffer:match("^(.-\r\n\r\n)(.*)$")
        if not head then return end
        local length = tonumber(head:lower():match("content%-length: (%d+)") or 0)
        if #rest < length and random(4) > 1 then return end            -- else it answers early
        skip, buffer = math.max(length - #rest, 0), rest:sub(length + 1)
        answers[random(#answers)](socket, head:match("^%u+ /(%S+)"))
      end
    end)
  end

  it("gives every client's request its own answer or one error, and ends it once", function()
    local port = servers.listen(net.createServer(lie))
    local agent = http.Agent:new { keepAlive = true, maxSockets = 4 }
    local stories, active, left = {}, 0, 200
    local function ask()
      left, active = left - 1, active + 1
      local tag = "r" .. #stories
      local story = newStory(tag)
      stories[#stories + 1] = story
      local body = random(3) == 1 and ("b"):rep(random(2) == 1 and 5 or 100000) or nil
      local request = http.request {
        port = port, host = "127.0.0.1", agent = agent, path = "/" .. tag, method = body and "POST" or "GET",
        headers = body and { ["Content-Length"] = #body } or nil,
      }
      listen(story, "request", request, { "finish", "response", "close", "error" })
      request:on("response", function(response)
        local way, parts = random(8), {}
        response:on("error", function() end)
        if way == 1 then return response:destroy() end
        if way == 2 then return request:destroy() end
        response:on("data", function(piece) parts[#parts + 1] = piece end)
        response:on("end", function() story.body = table.concat(parts) end)
      end)
      request:on("close", function()
        active = active - 1
        if left > 0 then ask() end
      end)
      if random(20) == 1 then timers.setTimeout(function() request:destroy() end, random(0, 5)) end
      if body and random(2) == 1 then
        request:write(body:sub(1, 3))
        timers.setTimeout(function() request:finish(body:sub(4), callback(story, "finish")) end, random(0, 8))
      else
        request:finish(body, callback(story, "finish"))
      end
    end
    for _ = 1, 12 do ask() end
    local faults
    children.eventually(function() return left <= 0 end)
    children.eventually(function() return active == 0 end)
    children.eventually(function()
      faults = {}
      for _, story in ipairs(stories) do
        faults[#faults + 1] = fault(story, { "request close" })
        if story.body and story.body ~= story.name then faults[#faults + 1] = story.name .. " got " .. story.body end
        if not story.counts["request response"] and not story.counts["request error"] then faults[#faults + 1] = story.name .. " heard nothing" end
      end
      return #faults == 0 and not next(agent.sockets)
    end)
    assert.same({}, faults)
    assert.equal(200, #stories)
    assert.same({}, uncaught)
    agent:destroy()
  end)
end)
