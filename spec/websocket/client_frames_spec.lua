--- What a client makes of a server's frames, wherever they are cut: the Autobahn test suite's sections against raw bytes.
local await = require("await")
local cases = require("spec.support.websocket_cases")
local children = require("spec.support.children")
local echo = require("spec.support.websocket_echo")
local peer = require("spec.support.websocket_peer")

describe("a WebSocket client", function()
  local server, logs

  setup(function()
    server, logs = cases.server(), {}
  end)
  teardown(function() server.close() end)

  local function connect(url) logs[#logs + 1] = echo.client(url, { maxPayload = 1024 * 1024 }) end

  for _, list in ipairs{ "frame_cases", "text_cases" } do
    for _, row in ipairs(require("spec.websocket." .. list)(peer.server, peer.client)) do
      it("answers " .. row[1], function() server.check(row, connect) end)
    end
  end

  it("has told each of them that its connection closed", function()
    children.eventually(function()
      for _, log in ipairs(logs) do if not log.code then return false end end
      return true
    end)
    for _, log in ipairs(logs) do assert.equal(3, log.socket.readyState) end
  end)

  it("masks each frame with a key of its own", function()
    local keys, seen = {}, nil
    local raw = peer.listen(function(connection)
      connection:accept()
      for _ = 1, 200 do keys[#keys + 1] = connection:next().key end
      connection:destroy()
      seen()
    end)
    local log = echo.client("ws://127.0.0.1:" .. raw.port)
    await(function(done)
      seen = done
      log.socket:on("open", function() for i = 1, 200 do log.socket:send("message " .. i) end end)
    end)
    raw.close()
    local different, count = {}, 0
    for _, key in ipairs(keys) do
      if not different[key] then count = count + 1 end
      different[key] = true
    end
    assert.is_true(count > 190, count .. " different keys of 200")
  end)

  local answers = {
    { "another status", function() return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" end },
    { "no Upgrade", function(accept) return ("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"):format(accept) end },
    { "another protocol", function(accept)
      return ("HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"):format(accept)
    end },
    { "no answer to the key", function() return "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" end },
    { "a wrong one", function()
      return "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
    end },
    { "a protocol that was not asked for", function(accept)
      return ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: x\r\n\r\n")
        :format(accept)
    end },
    { "an extension that was not asked for", function(accept)
      return ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: x\r\n\r\n")
        :format(accept)
    end },
    { "parameters that mean nothing", function(accept)
      return ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        .. "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=77\r\n\r\n"):format(accept)
    end },
    { "noise", function() return "\0\1\2\255\r\n\r\n" end },
    { "nothing", function() return nil end },
  }
  for _, answer in ipairs(answers) do
    it("refuses a server that answers with " .. answer[1], function()
      local raw = peer.listen(function(connection)
        local bytes = answer[2](peer.accept(connection.headers["sec-websocket-key"]))
        if bytes then connection:write(bytes .. peer.server.text("hello")) end
        connection:finish()
      end)
      local log = echo.client("ws://127.0.0.1:" .. raw.port)
      local opened, heard = false, false
      log.socket:on("open", function() opened = true end)
      log.socket:on("message", function() heard = true end)
      await(function(done) log.socket:on("close", done) end)
      raw.close()
      assert.same({ 1006, 1, false, false }, { log.code, #log.errors, opened, heard })
    end)
  end

  it("gives up a server that never answers, behind handshakeTimeout", function()
    local raw = peer.listen(function() end)
    local log = echo.client("ws://127.0.0.1:" .. raw.port, { handshakeTimeout = 100 })
    await(function(done) log.socket:on("close", done) end)
    raw.close()
    assert.same({ 1006, 1 }, { log.code, #log.errors })
  end)
end)
