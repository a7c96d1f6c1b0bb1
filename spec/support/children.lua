--- What the specs of child processes share: waiting for events, forking the fixture.
local await = require("await")
local child_process = require("child_process")
local net = require("net")

local children = { fixture = "spec/child/fixtures/child.lua" }

--- Waits for one event and returns its arguments.
function children.once(emitter, name)
  return await(function(done) emitter:once(name, done) end)
end

--- Disconnects a child and waits for its end.
function children.goodbye(child)
  child:disconnect()
  children.once(child, "close")
end

--- A server of this process on a free port of 127.0.0.1.
---@return Server server, integer port
function children.listen()
  local server = net.createServer()
  server:listen(0, "127.0.0.1")
  children.once(server, "listening")
  return server, server:address().port
end

--- Gathers a stream to its end.
function children.text(stream)
  local chunks = {}
  stream:on("data", function(chunk) chunks[#chunks + 1] = chunk end)
  children.once(stream, "end")
  return table.concat(chunks)
end

--- Waits, a moment at a time, until `condition` holds; fails after some seconds.
function children.eventually(condition)
  for _ = 1, 500 do
    if condition() then return end
    await.sleep(10)
  end
  error("this never came true", 2)
end

--- Forks the fixture in one of its roles.
function children.fork(role, options, ...)
  return child_process.fork(children.fixture, { role, ... }, options)
end

--- Sends, and waits for the next message.
function children.ask(child, message, handle)
  return await(function(done)
    child:once("message", done)
    child:send(message, handle)
  end)
end

return children
