--- Thousands of handshakes, half of them broken in every way that there is, leave nothing behind: what malloc has given out is
--- counted before and after. Lua's own memory is not malloc's, or is taken off: its table of strings may grow by half a megabyte.
--- Under the sanitizer they are ten thousand.
local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local ffi = require("ffi")
local net = require("net")
local servers = require("spec.support.servers")
local support = require("spec.support.tls")
local tls = require("tls")

ffi.cdef[[
  size_t __sanitizer_get_current_allocated_bytes(void);
  typedef struct { size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost; } spec_mallinfo_t;
  spec_mallinfo_t mallinfo2(void);
]]

-- The sanitizer's malloc has a count of its own.
local sanitized = pcall(function() return ffi.C.__sanitizer_get_current_allocated_bytes end)
local MANY = sanitized and 10000 or 2000

-- Bytes that malloc has given out.
local function allocated()
  collectgarbage() collectgarbage()
  if sanitized then return tonumber(ffi.C.__sanitizer_get_current_allocated_bytes()) - collectgarbage("count") * 1024 end
  local info = ffi.C.mallinfo2()
  return tonumber(info.uordblks) + tonumber(info.hblkhd)
end

local TOGETHER = 20

-- Calls `work(i)` for each number up to `count`, as many at a time.
local function inTurns(count, work)
  local i, running = 0, TOGETHER
  await(function(done)
    for _ = 1, TOGETHER do
      await.spawn(function()
        while i < count do
          i = i + 1
          work(i)
        end
        running = running - 1
        if running == 0 then done() end
      end)
    end
  end)
end

local function context(options)
  options.ca = options.ca or pki.ca.cert
  return tls.createSecureContext(options)
end

describe("TLS", function()
  after_each(servers.close)

  it("leaves nothing behind after thousands of handshakes, half of them broken", function()
    local ended, opened = 0, 0
    local function serve(options)
      local server = tls.createServer(pki.options("server", options), function(socket)
        socket:on("error", function() end)
        socket:pipe(socket)
      end)
      server:on("connection", function(socket)
        opened = opened + 1
        socket:on("close", function() ended = ended + 1 end)
        socket:on("error", function() end)
      end)
      return (servers.listen(server))
    end
    local port = serve{
      ALPNProtocols = { "spoken" },
      SNICallback = function(name, done) done(name == "refused.test" and "not this one" or nil) end,
    }
    local strict = serve{ requestCert = true, ca = pki.ca.cert }
    local spoiling = support.proxy(port, { up = function(data) return data:sub(1, 3) == "\22\3\1" and data or support.spoiled(data) end })
    local hello = support.greeting({ ca = pki.ca.cert })

    local plain, known = context{}, context(pki.options("client"))
    local old = context{ maxVersion = "TLSv1.2" }
    local distrustful, narrow = context{ ca = pki.otherCa.cert }, context{ ciphers = "PSK-AES128-GCM-SHA256", maxVersion = "TLSv1.2" }
    local session

    local function connect(to, secureContext, more)
      local options = { port = to, host = "127.0.0.1", secureContext = secureContext }
      for name, value in pairs(more or {}) do options[name] = value end
      local socket = tls.connect(options)
      socket:on("error", function() end)
      return socket
    end

    -- A word there and back.
    local function good(to, secureContext, more)
      local socket = connect(to, secureContext, more)
      if not more then socket:on("session", function(new) session = new end) end
      socket:write("word")
      local event, data = support.first(socket, "data", "close")
      assert.equal("data", event)
      assert.equal("word", data)
      socket:destroy()
      support.closed(socket)
    end

    -- One that never becomes secure, or not at the server's.
    local function broken(to, secureContext, more)
      local socket = connect(to, secureContext, more)
      socket:resume()
      support.closed(socket)
    end

    local function raw(bytes, reset)
      local socket = net.connect(port, "127.0.0.1")
      socket:on("error", function() end)
      socket:resume()
      socket:write(bytes, function()
        if reset then socket:resetAndDestroy() else socket:finish() end
      end)
      support.closed(socket)
    end

    local goods = {
      function() good(port, plain) end,
      function() good(port, old) end,
      function() good(strict, known) end,
      function() good(port, plain, { session = session, ALPNProtocols = { "spoken" }, servername = "localhost" }) end,
    }
    local breaks = {
      function(i) raw(hello:sub(1, i % #hello) .. ("z"):rep(i % 700)) end,
      function(i) raw(hello:sub(1, i % #hello)) end,
      function() raw(hello, true) end,
      function() broken(port, distrustful) end,
      function() broken(port, narrow) end,
      function() broken(port, plain, { ALPNProtocols = { "unheard" } }) end,
      function() broken(port, plain, { servername = "refused.test" }) end,
      function() broken(strict, plain) end,
      function() broken(spoiling, old) end,
      function() broken(spoiling, plain) end,
    }
    local function round(count)
      inTurns(count, function(i)
        local list = i % 2 == 0 and goods or breaks
        list[math.floor(i / 2) % #list + 1](i)
      end)
      while ended < opened do await.sleep(5) end
      return allocated()
    end

    local before = round(2000)             -- until what libssl keeps for later is there
    local grown = round(MANY) - before
    assert.is_true(grown < 20 * MANY, grown .. " bytes more")
  end)
end)
