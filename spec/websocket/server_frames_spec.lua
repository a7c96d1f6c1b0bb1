--- What a server makes of a client's frames, wherever they are cut: the Autobahn test suite's sections against raw bytes.
local cases = require("spec.support.websocket_cases")
local echo = require("spec.support.websocket_echo")
local peer = require("spec.support.websocket_peer")

describe("a WebSocket server", function()
  local server

  setup(function() server = echo.server() end)
  teardown(function() server.close() end)

  for _, list in ipairs{ "frame_cases", "text_cases" } do
    for _, row in ipairs(require("spec.websocket." .. list)(peer.client, peer.server)) do
      it("answers " .. row[1], function() cases.checkServer(row, server.port) end)
    end
  end

  it("has told each of them that its connection closed", function()
    server.settled()
    assert.is_nil(next(server.server.clients))
  end)
end)

describe("a WebSocket server's errors", function()
  local server

  setup(function() server = echo.server{ maxPayload = 1000 } end)
  teardown(function() server.close() end)

  -- What the socket itself is told: its close, its errors.
  local function told(bytes, ends)
    local connection = peer.connect(server.port)
    connection:write(bytes)
    if ends then ends(connection) else connection:next() end
    connection:destroy()
    server.settled()
    local log = server.last()
    return log.code, log.errors
  end

  local faults = {
    { "no mask", peer.server.text("Hello"), 1002, "WS_ERR_EXPECTED_MASK" },
    { "a reserved bit", peer.client.frame{ opcode = 1, rsv = 2 }, 1002, "WS_ERR_UNEXPECTED_RSV_2_3" },
    { "the bit of compression", peer.client.frame{ opcode = 1, rsv = 4 }, 1002, "WS_ERR_UNEXPECTED_RSV_1" },
    { "an opcode", peer.client.frame{ opcode = 3 }, 1002, "WS_ERR_INVALID_OPCODE" },
    { "a continuation of nothing", peer.client.continuation("x"), 1002, "WS_ERR_INVALID_OPCODE" },
    { "a ping in parts", peer.client.ping("x", false), 1002, "WS_ERR_EXPECTED_FIN" },
    { "a long ping", peer.client.ping(("x"):rep(126)), 1002, "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH" },
    { "no UTF-8", peer.client.text("\255"), 1007, "WS_ERR_INVALID_UTF8" },
    { "a reason that is no UTF-8", peer.client.close(1000, "\255"), 1007, "WS_ERR_INVALID_UTF8" },
    { "a close code", peer.client.close(1006), 1002, "WS_ERR_INVALID_CLOSE_CODE" },
    { "a long message", peer.client.binary(("x"):rep(1001)), 1009, "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH" },
  }
  for _, fault in ipairs(faults) do
    it("name " .. fault[1], function()
      local code, errors = told(fault[2])
      assert.same({ fault[4] }, errors)
      -- Whoever ends first, the peer's fault is what the socket was closed for.
      assert.is_true(code == fault[3] or code == 1006, "closed with " .. tostring(code))
    end)
  end

  it("are none for a connection that is cut", function()
    for _, bytes in ipairs{ "", peer.client.text("a message"):sub(1, 9), peer.client.text("part", false) } do
      for _, reset in ipairs{ true, false } do
        local code, errors = told(bytes, function(connection) connection:destroy(reset) end)
        assert.same({ 1006, {} }, { code, errors })
      end
    end
  end)

  it("end that connection alone where nobody listens", function()
    local bad, good = peer.connect(server.port), peer.connect(server.port)
    for _, log in ipairs(server.logs) do log.socket:removeAllListeners("error") end
    bad:write(peer.server.text("Hello")):expect("close 1002")
    bad:destroy()
    good:write(peer.client.text("still here")):expect("text still here")
    good:destroy()
    server.settled()
  end)
end)
