--- SHA-1 in Lua, for the answer to a WebSocket handshake: the raw peers of the specs ask nobody whom they test.
local bit = require("bit")

local sha1 = {}
local band, bor, bxor, bnot, rol, rshift, tobit = bit.band, bit.bor, bit.bxor, bit.bnot, bit.rol, bit.rshift, bit.tobit

local function bytesOf(word)
  return string.char(band(rshift(word, 24), 255), band(rshift(word, 16), 255), band(rshift(word, 8), 255), band(word, 255))
end

-- The function and the constant of each of the four rounds.
local rounds = {
  { function(b, c, d) return bor(band(b, c), band(bnot(b), d)) end, 0x5A827999 },
  { function(b, c, d) return bxor(b, c, d) end, 0x6ED9EBA1 },
  { function(b, c, d) return bor(band(b, c), band(b, d), band(c, d)) end, 0x8F1BBCDC },
  { function(b, c, d) return bxor(b, c, d) end, 0xCA62C1D6 },
}

local function schedule(text, at)
  local words = {}
  for i = 1, 16 do
    local a, b, c, d = text:byte(at + (i - 1) * 4, at + i * 4 - 1)
    words[i] = bor(bit.lshift(a, 24), bit.lshift(b, 16), bit.lshift(c, 8), d)
  end
  for i = 17, 80 do words[i] = rol(bxor(words[i - 3], words[i - 8], words[i - 14], words[i - 16]), 1) end
  return words
end

--- The 20 bytes of a text's sum.
function sha1.sum(text)
  local state = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 }
  local padded = text .. "\128" .. ("\0"):rep((55 - #text) % 64) .. "\0\0\0\0" .. bytesOf(#text * 8)
  for at = 1, #padded, 64 do
    local words = schedule(padded, at)
    local a, b, c, d, e = unpack(state)
    for i = 1, 80 do
      local round = rounds[math.ceil(i / 20)]
      a, b, c, d, e = tobit(rol(a, 5) + round[1](b, c, d) + e + tobit(round[2]) + words[i]), a, rol(b, 30), c, d
    end
    for i, value in ipairs{ a, b, c, d, e } do state[i] = tobit(state[i] + value) end
  end
  local parts = {}
  for i, word in ipairs(state) do parts[i] = bytesOf(word) end
  return table.concat(parts)
end

--- The sum as base64.
function sha1.base64(text) return require("base64").encode(sha1.sum(text)) end

return sha1
