--- What a peer says in frames and what must come back, by the sections of the Autobahn test suite: 1 framing, 2 pings and pongs,
--- 3 reserved bits, 4 opcodes, 5 fragmentation, 7 closing, 9 limits. Section 6 is in text_cases.
---
--- `cases(side, other)` returns the rows of one side (`peer.client` or `peer.server`), against an endpoint that echoes messages:
---
---     { name, bytes, wanted frame, …, cut = false }
---
--- A row whose last wanted frame is a close ends there; behind another the one who runs it closes with 1000. `cut = false`: too
--- long to be cut at each of its bytes.
local function letters(count) return ("*"):rep(count) end

-- One row from lists: frames that are sent, frames that are wanted.
local function row(rows, name, sent, ...)
  rows[#rows + 1] = { name, type(sent) == "table" and table.concat(sent) or sent, ... }
  return rows[#rows]
end

local function framing(rows, side)
  for i, length in ipairs{ 0, 125, 126, 127, 128, 65535, 65536 } do
    local space = length > 0 and " " or ""
    local text, bytes = letters(length), ("\254"):rep(length)
    row(rows, ("1.1.%d text of %d bytes"):format(i, length), side.text(text), "text" .. space .. text).cut = length < 200
    row(rows, ("1.2.%d binary of %d bytes"):format(i, length), side.binary(bytes), "binary" .. space .. bytes).cut = length < 200
  end
  for i, mask in ipairs{ "\0\0\0\0", "\255\255\255\255", "\0\255\0\255", "\1\0\0\0" } do
    if side.frame{ opcode = 1 } ~= "\129\0" then
      row(rows, "any four bytes are a mask " .. i, side.frame{ opcode = 1, data = "masked in another way", mask = mask },
        "text masked in another way")
    end
  end
  local every = {}
  for byte = 0, 255 do every[byte + 1] = string.char(byte) end
  every = table.concat(every)
  row(rows, "every byte", side.binary(every), "binary " .. every)
  row(rows, "three messages in one write", { side.text("one"), side.binary("\0two"), side.text("three") },
    "text one", "binary \0two", "text three")
  local many = {}
  for i = 1, 300 do many[i] = "text " .. i end
  local sent = {}
  for i = 1, 300 do sent[i] = side.text(tostring(i)) end
  row(rows, "three hundred messages", sent, unpack(many)).cut = false
end

-- A length takes the fewest bytes that can hold it, and its highest bit is 0.
local function lengths(rows, side)
  row(rows, "a length in 64 bits whose highest is set", side.frame{ opcode = 2, length = 2 ^ 63, bits = 64 }, "close 1002")
  for _, short in ipairs{ { "", 16 }, { "short", 16 }, { "short", 64 }, { letters(126), 64 }, { letters(65535), 64 } } do
    local name = ("%d bytes with a length in %d bits"):format(#short[1], short[2])
    row(rows, name, side.frame{ opcode = 2, data = short[1], bits = short[2] }, "close 1002").cut = #short[1] < 200
  end
  row(rows, "of all ones", side.frame{ opcode = 2, length = 2 ^ 64 - 2048, bits = 64 }, "close 1002")
end

local function pings(rows, side)
  local full = ("\254"):rep(125)
  row(rows, "2.1 an empty ping", side.ping(), "pong")
  row(rows, "2.2 of text", side.ping("Hello, world!"), "pong Hello, world!")
  row(rows, "2.3 of bytes", side.ping("\0\255\254\253\252\251\0\255"), "pong \0\255\254\253\252\251\0\255")
  row(rows, "2.4 as long as may be", side.ping(full), "pong " .. full)
  row(rows, "2.5 one byte more", side.ping(full .. "\254"), "close 1002")
  row(rows, "2.7 an empty pong that nobody asked for", { side.pong(), side.ping("after") }, "pong after")
  row(rows, "2.8 one with a text", { side.pong("unsolicited"), side.ping("after") }, "pong after")
  row(rows, "2.9 a pong, a ping", { side.pong("unsolicited"), side.ping("solicited") }, "pong solicited")
  local sent, wanted = {}, {}
  for i = 1, 10 do sent[i], wanted[i] = side.ping("payload-" .. i), "pong payload-" .. i end
  row(rows, "2.10 ten pings", sent, unpack(wanted))
  row(rows, "pings between messages", { side.text("a"), side.ping("1"), side.binary("b"), side.ping("2") },
    "text a", "pong 1", "binary b", "pong 2")
  row(rows, "a pong of 126 bytes", side.pong(full .. "\254"), "close 1002")
  for _, bits in ipairs{ 16, 64 } do
    row(rows, "a short ping with its length in " .. bits .. " bits", side.frame{ opcode = 9, data = "ping", bits = bits }, "close 1002")
  end
end

local function reservedBits(rows, side)
  local function with(rsv, opcode, data) return side.frame{ opcode = opcode or 1, rsv = rsv, data = data or "Hello, world!" } end
  row(rows, "3.1 the third bit", with(1), "close 1002")
  row(rows, "3.2 the second, behind a message", { side.text("before"), with(2), side.ping() }, "text before", "close 1002")
  row(rows, "3.3 both", { side.text("before"), with(3), side.ping() }, "text before", "close 1002")
  row(rows, "3.4 the first, without an extension", { side.text("before"), with(4), side.ping() }, "text before", "close 1002")
  row(rows, "3.5 first and third, binary", with(5, 2, "\0\255\254"), "close 1002")
  row(rows, "3.6 first and second, a ping", with(6, 9), "close 1002")
  row(rows, "3.7 all, a close", with(7, 8, "\3\232"), "close 1002")
  row(rows, "a pong", with(4, 10), "close 1002")
  row(rows, "a continuation", { side.text("first", false), with(4, 0, "second") }, "close 1002")
end

local function opcodes(rows, side)
  for i, opcode in ipairs{ 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 } do
    local number = i <= 5 and "4.1." .. i or "4.2." .. i - 5
    for _, data in ipairs{ "", "reserved opcode payload" } do
      local name = ("%s opcode %d%s"):format(number, opcode, data ~= "" and " with a payload" or "")
      row(rows, name, side.frame{ opcode = opcode, data = data }, "close 1002")
      row(rows, name .. ", behind a message", { side.text("before"), side.frame{ opcode = opcode, data = data }, side.ping() },
        "text before", "close 1002")
    end
  end
end

local function fragments(rows, side)
  local text, binary, ping, more = side.text, side.binary, side.ping, side.continuation
  row(rows, "5.1 a ping in two parts", { ping("fragment1", false), more("fragment2") }, "close 1002")
  row(rows, "5.2 a pong in two parts", { side.pong("fragment1", false), more("fragment2") }, "close 1002")
  row(rows, "5.3 text in two parts", side.pieces("text", { "fragment1", "fragment2" }), "text fragment1fragment2")
  row(rows, "5.6 with a ping between", { text("fragment1", false), ping("ping payload"), more("fragment2") },
    "pong ping payload", "text fragment1fragment2")
  row(rows, "with a pong between", { text("fragment1", false), side.pong("pong payload"), more("fragment2") }, "text fragment1fragment2")
  row(rows, "5.9 a continuation of nothing", { more("non-continuation"), text("Hello, world!") }, "close 1002")
  row(rows, "5.12 that is not the last", { more("non-continuation", false), text("Hello, world!") }, "close 1002")
  row(rows, "5.15 behind a message in two parts",
    { side.pieces("text", { "fragment1", "fragment2" }), more("fragment3", false), text("fragment4") },
    "text fragment1fragment2", "close 1002")
  row(rows, "5.16 twice", { more("fragment1", false), text("fragment2", false), more("fragment3") }, "close 1002")
  row(rows, "5.17 whole ones", { more("fragment1"), text("fragment2", false), more("fragment3") }, "close 1002")
  row(rows, "5.18 text within text", { text("fragment1", false), text("fragment2") }, "close 1002")
  row(rows, "binary within text", { text("fragment1", false), binary("fragment2") }, "close 1002")
  row(rows, "text within binary, in parts itself", { binary("fragment1", false), text("fragment2", false) }, "close 1002")
  row(rows, "5.19 five parts and pings",
    { text("fragment1", false), more("fragment2", false), ping("ping 1"), more("fragment3", false), more("fragment4", false),
      ping("ping 2"), more("fragment5") },
    "pong ping 1", "pong ping 2", "text fragment1fragment2fragment3fragment4fragment5")
  row(rows, "binary with an empty part", side.pieces("binary", { "\0\1", "", "\254\255" }), "binary \0\1\254\255")
  row(rows, "empty parts alone", side.pieces("text", { "", "", "" }), "text")
  row(rows, "two messages in parts", { side.pieces("text", { "a", "b" }), side.pieces("binary", { "c", "d" }) }, "text ab", "binary cd")
  local parts = {}
  for i = 1, 300 do parts[i] = string.char(97 + i % 26) end
  row(rows, "three hundred parts of a byte", side.pieces("text", parts), "text " .. table.concat(parts)).cut = false
end

local GOOD_CODES = { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999 }
local BAD_CODES = { 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 }

local function closing(rows, side)
  row(rows, "7.1.1 a message, then a close", { side.text("Hello World!"), side.close(1000) }, "text Hello World!", "close 1000")
  row(rows, "7.1.2 two closes", { side.close(1000), side.close(1000) }, "close 1000")
  row(rows, "7.1.3 a ping behind a close", { side.close(1000), side.ping("too late") }, "close 1000")
  row(rows, "7.1.4 a message behind a close", { side.close(1000), side.text("too late") }, "close 1000")
  row(rows, "7.1.5 a close within a message", { side.text("fragment1", false), side.close(1000), side.continuation("fragment2") }, "close 1000")
  local large = letters(262144)
  row(rows, "7.1.6 a large message before it", { side.text(large), side.close(1000), side.ping("too late") },
    "text " .. large, "close 1000").cut = false
  row(rows, "7.3.1 an empty close", side.close(), "close")
  row(rows, "7.3.2 of one byte", side.frame{ opcode = 8, data = "a" }, "close 1002")
  row(rows, "7.3.3 of two", side.close(1000), "close 1000")
  row(rows, "7.3.4 with a reason", side.close(1000, "Hello World!"), "close 1000")
  row(rows, "7.3.5 as long as may be", side.close(1000, letters(123)), "close 1000")
  row(rows, "7.3.6 one byte more", side.close(1000, letters(124)), "close 1002")
  row(rows, "7.5.1 a reason that is no UTF-8", side.close(1000, "\206\186\225\189\185\207\131\206\188\206\181\237\160\128edited"), "close 1007")
  row(rows, "a reason that ends within a character", side.close(1000, "caf\195"), "close 1007")
  for i, code in ipairs(GOOD_CODES) do row(rows, ("7.7.%d code %d"):format(i, code), side.close(code), "close " .. code) end
  for i, code in ipairs(BAD_CODES) do
    row(rows, ("7.9.%d code %d"):format(i, code), side.close(code), "close 1002")
    row(rows, ("7.9.%d code %d and a reason"):format(i, code), side.close(code, "nope"), "close 1002")
  end
  row(rows, "a close in two parts", { side.frame{ opcode = 8, fin = false, data = "\3\232" }, side.continuation("reason") }, "close 1002")
end

-- An endpoint whose `maxPayload` is 1 MiB.
local MiB = 1024 * 1024

local function limits(rows, side)
  for i, size in ipairs{ 65536, 262144, MiB } do
    local text = letters(size)
    row(rows, ("9.1.%d text of %d bytes"):format(i, size), side.text(text), "text " .. text).cut = false
    row(rows, ("9.2.%d binary of %d bytes"):format(i, size), side.binary(text), "binary " .. text).cut = false
    local parts = {}
    for at = 1, size, 4096 do parts[#parts + 1] = text:sub(at, at + 4095) end
    row(rows, ("9.3.%d in parts of 4 KiB"):format(i), side.pieces("text", parts), "text " .. text).cut = false
  end
  row(rows, "one byte too much", side.binary(letters(MiB + 1)), "close 1009").cut = false
  row(rows, "the head alone of one", side.frame{ opcode = 2, length = MiB + 1 }, "close 1009")
  row(rows, "of 4 GiB", side.frame{ opcode = 1, length = 2 ^ 32 }, "close 1009")
  row(rows, "of 2^53 bytes", side.frame{ opcode = 2, length = 2 ^ 53 }, "close 1009")
  row(rows, "the head of a second part", { side.text("1234567890", false), side.frame{ opcode = 0, length = MiB - 9 } }, "close 1009")
  row(rows, "behind a message", { side.text("before"), side.frame{ opcode = 2, length = MiB + 1 } }, "text before", "close 1009")
end

-- A client must mask each frame, a server none: the first two bytes tell.
local function masks(rows, side, other)
  local wrong = {
    { "text", other.text("Hello") }, { "binary", other.binary("\0") }, { "an empty message", other.text("") },
    { "a ping", other.ping("ping") }, { "a pong", other.pong() }, { "a close", other.close(1000) },
  }
  local masked = other.text("") ~= "\129\0"
  for _, case in ipairs(wrong) do
    local name = ("%s %s a mask"):format(case[1], masked and "with" or "without")
    row(rows, name, case[2], "close 1002")
    row(rows, name .. ", behind a message", { side.text("good"), case[2], side.text("late") }, "text good", "close 1002")
    row(rows, name .. ", two bytes of it", case[2]:sub(1, 2), "close 1002")
  end
  row(rows, "the rest of a message", { side.text("part", false), other.continuation("rest") }, "close 1002")
  row(rows, "a large message", other.binary(letters(70000)), "close 1002").cut = false
end

local sections = { framing, lengths, pings, reservedBits, opcodes, fragments, closing, limits, masks }

return function(side, other)
  local rows = {}
  for _, section in ipairs(sections) do section(rows, side, other) end
  return rows
end
