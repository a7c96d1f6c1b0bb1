--- permessage-deflate in both directions: what is agreed upon, RFC 7692's own examples, windows that go on or begin anew, and
--- messages that inflate to more than may be: sections 12 and 13 of the Autobahn test suite.
local await = require("await")
local cases = require("spec.support.websocket_cases")
local deflate = require("spec.support.websocket_deflate")
local echo = require("spec.support.websocket_echo")
local peer = require("spec.support.websocket_peer")

local function bytes(hex) return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)) end

local HELLO, AGAIN = bytes("f248cdc9c90700"), bytes("f200110000")

local WORDS = { "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa" }
-- Text of a size: words in an order that no two sizes share.
local function prose(size)
  local parts, length, state = {}, 0, size + 1
  while length < size do
    state = state * 16807 % 2147483647
    parts[#parts + 1] = WORDS[state % #WORDS + 1]
    length = length + #parts[#parts] + 1
  end
  return table.concat(parts, " "):sub(1, size)
end

-- Rows of one side; the endpoint's own messages are too small to be packed.
local function rows(side)
  local function packed(data, opcode, fin) return side.frame{ opcode = opcode or 1, data = data, rsv = 4, fin = fin } end
  local more = side.continuation
  local large = prose(100000)
  local parts, text = {}, deflate.pack(large)
  for at = 1, #text, 500 do parts[#parts + 1] = text:sub(at, at + 499) end
  for i, part in ipairs(parts) do parts[i] = i == 1 and packed(part, 1, false) or more(part, i == #parts) end
  local zeros = ("\0"):rep(1024 * 1024)
  return {
    { "a message", packed(HELLO), "text Hello" },
    { "of bytes", packed(HELLO, 2), "binary Hello" },
    { "in two parts", packed(HELLO:sub(1, 3), 1, false) .. more(HELLO:sub(4)), "text Hello" },
    { "in parts with a ping", packed(HELLO:sub(1, 3), 1, false) .. side.ping("p") .. more("", false) .. more(HELLO:sub(4)),
      "pong p", "text Hello" },
    { "a window that goes on", packed(HELLO) .. packed(AGAIN) .. packed(AGAIN), "text Hello", "text Hello", "text Hello" },
    { "over a plain message", packed(HELLO) .. side.text("plain") .. packed(AGAIN), "text Hello", "text plain", "text Hello" },
    { "a stored block", packed(bytes("000500faff48656c6c6f00")), "text Hello" },
    { "a last block", packed(bytes("f348cdc9c9070000")), "text Hello" },
    { "two blocks", packed(bytes("f24805000000ffffcac9c90700")), "text Hello" },
    { "an empty one", packed("\0"), "text" },
    { "characters of several bytes", packed(deflate.pack("a\226\130\172b\240\159\152\128")), "text a\226\130\172b\240\159\152\128" },
    { "bytes that no text has", packed(deflate.pack("\255"), 2), "binary \255" },
    { "a part with the bit", packed(HELLO:sub(1, 3), 1, false) .. side.frame{ opcode = 0, data = HELLO:sub(4), rsv = 4 }, "close 1002" },
    { "a ping with the bit", side.frame{ opcode = 9, rsv = 4 }, "close 1002" },
    { "a close with the bit", side.frame{ opcode = 8, rsv = 4, data = "\3\232" }, "close 1002" },
    { "the other bits", side.frame{ opcode = 1, rsv = 6, data = HELLO }, "close 1002" },
    { "a block of no kind", packed("\255\255\255"), "close 1007" },
    { "a window that is not there", packed(AGAIN), "close 1007" },
    { "text that is no UTF-8", packed(deflate.pack("\255")), "close 1007" },
    { "a surrogate", packed(deflate.pack("a\237\160\128")), "close 1007" },
    { "text that ends within a character", packed(deflate.pack("caf\195")), "close 1007" },
    { "a bomb", packed(deflate.pack(zeros .. "\0"), 2), "close 1009", cut = false },
    { "a bomb of 100 MiB", packed(deflate.pack(zeros:rep(100)), 2), "close 1009", cut = false },
    { "a bomb in parts that never end", packed(deflate.pack(zeros) .. "\0\0\255\255", 2, false)
      .. more(deflate.pack("\0\0", { history = zeros }), false), "close 1009", cut = false },
  }, large, table.concat(parts)
end

-- One row of 100,000 bytes, which comes back packed.
local function large(connection, side, text, sent)
  connection:write(sent)
  local frame = connection:next()
  assert.same({ 4, true, 1 }, { frame.rsv, frame.fin, frame.opcode })
  assert.is_true(#frame.data < #text / 2)
  assert.is_true(deflate.unpack(frame.data) == text)
  connection:write(side.close(1000)):expect("close 1000")
end

describe("permessage-deflate, a server's side", function()
  local headers = { "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover" }
  local server

  setup(function() server = echo.server{ perMessageDeflate = true } end)
  teardown(function()
    server.settled()
    server.close()
  end)

  local all, text, sent = rows(peer.client)
  for _, row in ipairs(all) do
    it("reads " .. row[1], function() cases.checkServer(row, server.port, headers) end)
  end

  it("reads and packs a large message in parts", function()
    local connection = peer.connect(server.port, { headers = headers })
    large(connection, peer.client, text, sent)
    connection:expectEnd()
  end)

  -- Sizes of section 12, options of section 13: twenty messages of each, all of which share words.
  local offers = {
    { "" }, { "; client_no_context_takeover", client = true }, { "; server_no_context_takeover", server = true },
    { "; server_no_context_takeover; client_no_context_takeover", client = true, server = true },
    { "; server_max_window_bits=9", bits = 9 }, { "; server_max_window_bits=15", bits = 15 },
    { "; server_max_window_bits=10; server_no_context_takeover", bits = 10, server = true },
    { "; client_max_window_bits", askedBits = true },
  }
  for _, offer in ipairs(offers) do
    it("keeps to the offer permessage-deflate" .. offer[1], function()
      local connection = peer.connect(server.port, { headers = { "Sec-WebSocket-Extensions: permessage-deflate" .. offer[1] } })
      local answer = connection.headers["sec-websocket-extensions"]
      assert.matches("^permessage%-deflate", answer)
      if offer.server then assert.matches("server_no_context_takeover", answer, 1, true) end
      if offer.bits and offer.bits < 15 then assert.matches("server_max_window_bits=" .. offer.bits, answer, 1, true) end
      local clientForgets = answer:find("client_no_context_takeover", 1, true) ~= nil
      local serverForgets = answer:find("server_no_context_takeover", 1, true) ~= nil
      local bits = tonumber(answer:match("client_max_window_bits=(%d+)")) or 15
      local said, heard = "", ""
      for _, size in ipairs{ 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072 } do
        for round = 1, 2 do
          local message = prose(size + round)
          connection:write(peer.client.frame{ opcode = 1, rsv = 4,
            data = deflate.pack(message, { history = not clientForgets and bits == 15 and said or nil, windowBits = bits }) })
          said = said .. message
          local frame = connection:next()
          local back = frame.rsv == 4 and deflate.unpack(frame.data, not serverForgets and heard or nil) or frame.data
          assert.is_true(back == message, "a message of " .. #message)
          if frame.rsv == 4 then heard = heard .. message end
          assert.equal(size >= 1024 or not serverForgets, frame.rsv == 4)
        end
      end
      connection:write(peer.client.close(1000)):expect("close 1000"):expectEnd()
    end)
  end
end)

describe("permessage-deflate, a client's side", function()
  local answer = { "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover" }
  local server

  setup(function() server = cases.server(answer) end)
  teardown(function() server.close() end)

  local function connect(url) echo.client(url, { maxPayload = 1024 * 1024 }) end

  local all, text, sent = rows(peer.server)
  for _, row in ipairs(all) do
    it("reads " .. row[1], function() server.check(row, connect) end)
  end

  it("offers it, and packs a large message", function()
    local raw, offer, failure, finished
    raw = peer.listen(function(connection)
      offer = connection.headers["sec-websocket-extensions"]
      connection:accept(answer)
      local ok, err = pcall(large, connection, peer.server, text, sent)
      failure = not ok and err or nil
      connection:destroy()
      finished()
    end)
    await(function(done)
      finished = done
      echo.client("ws://127.0.0.1:" .. raw.port)
    end)
    raw.close()
    if failure then error(failure, 0) end
    assert.matches("^permessage%-deflate", offer)
  end)

  it("does not offer it where it was told not to", function()
    local raw, offer, finished
    raw = peer.listen(function(connection)
      offer = connection.headers["sec-websocket-extensions"]
      connection:destroy()
      finished()
    end)
    await(function(done)
      finished = done
      echo.client("ws://127.0.0.1:" .. raw.port, { perMessageDeflate = false })
    end)
    raw.close()
    assert.is_nil(offer)
  end)
end)
