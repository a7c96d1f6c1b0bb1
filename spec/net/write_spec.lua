--- Writes that the kernel does not take at once.
local await = require("await")
local child_process = require("child_process")
local http = require("http")
local os = require("os")
local path = require("path")
local sockets = require("spec.support.sockets")
local timers = require("timers")

local MIB = 1024 * 1024

local count = 0

local function newPath()
  count = count + 1
  return path.join(os.tmpdir(), ("lrun-write-%d-%d.sock"):format(process.pid, count))
end

-- Nobody reads from the accepted one before it is resumed.
local function connected(kind, test)
  sockets.connected({ path = kind == "unix" and newPath() or nil, server = { pauseOnConnect = true, allowHalfOpen = true } }, test)
end

local function everything(socket)
  return await(function(done)
    local parts = {}
    socket:on("data", function(data) parts[#parts + 1] = data end)
    socket:on("end", function() done(table.concat(parts)) end)
    socket:resume()
  end)
end

-- How much memory of Lua's `f` takes that stays, in MiB.
local function kept(f)
  collectgarbage()
  collectgarbage()
  local before = collectgarbage("count")
  f()
  collectgarbage()
  collectgarbage()
  return (collectgarbage("count") - before) / 1024
end

local function bytes(size, seed)
  local line = {}
  for i = 1, 4096 do line[i] = ("%07d\n"):format(seed * 10000 + i) end
  local text = table.concat(line)
  return text:rep(math.ceil(size / #text)):sub(1, size)
end

describe("what the kernel does not take at once", function()
  for _, kind in ipairs{ "TCP", "unix" } do
    it("waits without a copy of it: " .. kind, function()
      local data = bytes(32 * MIB + 5, 1)
      connected(kind, function(client, accepted)
        local written = false
        local size = kept(function() client:write(data, function(err) written = err or true end) end)
        assert.is_true(size < 1, ("%.1f MiB"):format(size))
        assert.equal(#data, client.bytesWritten)
        assert.is_false(written)
        client:finish()
        assert.is_true(everything(accepted) == data)
        assert.is_true(written)
      end)
    end)

    it("goes in order, large pieces and small ones behind it, also without a copy: " .. kind, function()
      local sent, pieces, order = { bytes(16 * MIB, 1) }, {}, {}
      for i = 1, 40 do pieces[i] = bytes(i % 2 == 0 and MIB + i or 40, i + 1) end
      for i = 1, #pieces do sent[i + 1] = pieces[i] end
      connected(kind, function(client, accepted)
        for i, piece in ipairs(sent) do client:write(piece, function(err) order[#order + 1] = err or i end) end
        local size = kept(function()
          await(function(done)       -- until the first one is through: the others go together then
            accepted:on("data", function()
              if not order[1] then return end
              accepted:pause()
              done()
            end)
            accepted:resume()
          end)
        end)
        assert.is_true(size < 4, ("%.1f MiB"):format(size))
      end)
      connected(kind, function(client, accepted)
        order = {}
        for i, piece in ipairs(sent) do client:write(piece, function(err) order[#order + 1] = err or i end) end
        client:finish()
        assert.is_true(everything(accepted) == table.concat(sent))
        assert.equal(#table.concat(sent), client.bytesWritten)
        local wanted = {}
        for i = 1, #sent do wanted[i] = i end
        assert.same(wanted, order)
      end)
    end)

    it("fails when the peer goes, and when the socket is destroyed: " .. kind, function()
      for _, how in ipairs{ "peer", "own" } do
        connected(kind, function(client, accepted)
          client:on("error", function() end)
          local one, two
          client:write(bytes(16 * MIB, 1), function(err) one = err or "none" end)
          client:write(bytes(MIB, 2), function(err) two = err or "none" end)
          await(function(done)
            client:on("close", done)
            if how == "peer" then accepted:destroy() else client:destroy() end
          end)
          if one == nil or two == nil then await(timers.setImmediate) end
          local codes = { ECONNRESET = true, EPIPE = true, ECANCELED = true, ERR_STREAM_DESTROYED = true }
          assert.is_true(codes[one.code], one.code)
          assert.is_true(codes[two.code], two.code)
        end)
      end
    end)
  end

  for _, kind in ipairs{ "TCP", "unix" } do
    it("goes before what an HTTP server writes that the socket was given to, drained in the end: " .. kind, function()
      local web = http.createServer(function(_, res) res:finish("answer") end)
      local text = bytes(8 * MIB, 1)
      connected(kind, function(client, accepted)
        local order = {}
        accepted:write(text, function(err) order[#order + 1] = err or "first" end)
        accepted:write("second ", function(err) order[#order + 1] = err or "second" end)
        accepted:write("third ")
        accepted:once("drain", function() order[#order + 1] = "drain" end)
        web:emit("connection", accepted)
        client:write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        local got = everything(client)
        assert.is_true(got:sub(1, #text) == text)
        assert.equal("second third HTTP/1.1 200 OK", got:sub(#text + 1):match("^[^\r]*"))
        assert.same({ "first", "drain", "second" }, order)
      end)
    end)
  end

  it("reaches a child that reads late by its standard input", function()
    local data = bytes(4 * MIB + 3, 3)
    local child = child_process.spawn("sh", { "-c", "read line; cat" })
    child.stdin:write(data)
    child.stdin:finish()
    local got = everything(child.stdout)
    assert.is_true(got == data:sub(data:find("\n", 1, true) + 1))
  end)
end)
