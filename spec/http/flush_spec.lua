local await = require("await")
local child_process = require("child_process")
local uv = require("luv")

-- What a handler has finished reaches its client, whatever the program does next.
describe("finished http output", function()
  local FEW, MANY = 2, 4 * 1024 * 1024 -- bytes: what a socket takes at once, and more than it takes
  local child

  -- Starts the fixture; its port.
  local function start(way)
    child = child_process.spawn(process.execPath, { "spec/http/fixtures/last_words.lua", way },
      { stdio = { "pipe", "pipe", "ignore" } })
    local line = await(function(done) child.stdout:once("data", done) end)
    return tonumber(line:match("%d+"))
  end

  -- Sends requests for answers of these sizes in one write; calls `done` with the bodies' bytes when `size` of them or
  -- the end came. Reading starts `late` turns of the timer later.
  local function ask(port, sizes, late)
    local wanted, text = 0, {}
    for i, size in ipairs(sizes) do
      wanted = wanted + size
      text[i] = ("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"):format(size)
    end
    return await(function(done)
      local client, received = uv.new_tcp(), 0
      local function read()
        client:read_start(function(_, data)
          if data then
            received = received + select(2, data:gsub("x", ""))
            if received < wanted then return end
          end
          client:close(function() done(received == wanted) end)
        end)
      end
      client:connect("127.0.0.1", port, function(err)
        assert.is_nil(err)
        client:write(table.concat(text), function()
          if not late then return read() end
          local timer = uv.new_timer()
          timer:start(late, 0, function()
            timer:close()
            read()
          end)
        end)
      end)
    end)
  end

  local function ended()
    if child.exitCode or child.signalCode then return child.exitCode, child.signalCode end
    return await(function(done) child:once("exit", done) end)
  end

  after_each(function()
    if child then
      child:kill("SIGKILL")
      ended()
    end
    child = nil
  end)

  for _, way in ipairs { "exit", "os.exit", "signal", "kill", "error", "abort" } do
    it("is sent before the end by " .. way, function()
      assert.is_true(ask(start(way), { 1, 1, FEW }))
      local code, signal = ended()
      assert.equal(way == "signal" and "SIGTERM" or way == "kill" and "SIGKILL" or way == "abort" and "SIGABRT" or nil, signal)
      if not signal then assert.equal(way == "error" and 1 or 3, code) end
    end)

    it("is sent to a slow reader before the end by " .. way, function()
      assert.is_true(ask(start(way), { MANY }, 50))
      ended()
    end)
  end

  for _, way in ipairs { "execSync", "os.execute", "io.popen" } do
    it("is not held back by " .. way, function()
      assert.is_true(ask(start(way), { 1, FEW }))
      assert.is_nil(child.exitCode)
      child.stdin:finish() -- ends what it waits for
    end)
  end

  it("is not held back by luv.sleep", function()
    local port, start_ = start("luv.sleep"), uv.hrtime()
    assert.is_true(ask(port, { 1, FEW }))
    assert.is_true(uv.hrtime() - start_ < 9e9)
  end)

  for _, way in ipairs { "destroySoon", "destroy", "res:destroy", "closeAllConnections" } do
    it("is sent before " .. way, function()
      assert.is_true(ask(start(way), { 1, 1, FEW }))
    end)
  end

  it("does not let a reader that never reads hold up the end", function()
    local port = start("exit")
    local client = uv.new_tcp()
    await(function(done)
      client:connect("127.0.0.1", port, function()
        client:write(("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"):format(4 * MANY))
        done()
      end)
    end)
    assert.equal(3, (ended()))
    client:close()
  end)
end)
