--- What the specs of child processes share: waiting for events, counting descriptors, forking the fixture.
local await = require("await")
local child_process = require("child_process")

local children = { fixture = "spec/child_process/fixtures/child.lua" }

--- Waits for one event and returns its arguments.
function children.once(emitter, name)
  return await(function(done) emitter:once(name, done) end)
end

--- Gathers a stream to its end.
function children.text(stream)
  local chunks = {}
  stream:on("data", function(chunk) chunks[#chunks + 1] = chunk end)
  children.once(stream, "end")
  return table.concat(chunks)
end

--- How many descriptors a process (this one) has open.
function children.descriptors(pid)
  local count = 0
  local scan = assert(require("luv").fs_scandir(("/proc/%s/fd"):format(pid or "self")))
  while require("luv").fs_scandir_next(scan) do count = count + 1 end
  return count
end

--- Waits, a moment at a time, until `condition` holds; fails after some seconds.
function children.eventually(condition)
  for _ = 1, 500 do
    if condition() then return end
    await.sleep(10)
  end
  error("this never came true", 2)
end

--- The letter that the kernel has for what a process does ("S": it waits), nil when there is none.
function children.state(pid)
  local file = io.open("/proc/" .. pid .. "/stat")
  if not file then return nil end
  local state = file:read("*a"):match("%)%s+(%a)")
  file:close()
  return state
end

--- Whether a process runs (a zombie does not).
function children.alive(pid)
  local state = children.state(pid)
  return state ~= nil and state ~= "Z" and state ~= "X"
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
