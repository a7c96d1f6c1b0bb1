--- UTF-8 in text messages, by section 6 of the Autobahn test suite: what is none ends the connection with 1007 as soon as that shows,
--- be the message all there or not. The form of the rows is that of frame_cases.
local GREEK = "\206\186\225\189\185\207\131\206\188\206\181" -- a word of two- and three-byte characters
local SURROGATE = "\237\160\128"

-- Well-formed texts: one of each length at its borders, non-characters, characters of every width.
local VALID = {
  { "6.2.1 text with characters of all widths",
    "Hello-\194\181@\195\159\195\182\195\164\195\188\195\160\195\161-UTF-8!! \226\130\172 \240\159\152\128" },
  { "6.5 a word", GREEK },
  { "6.7.1 U+0000", "\0" }, { "6.7.2 U+0080", "\194\128" }, { "6.7.3 U+0800", "\224\160\128" }, { "6.7.4 U+10000", "\240\144\128\128" },
  { "6.9.1 U+007F", "\127" }, { "6.9.2 U+07FF", "\223\191" }, { "6.9.3 U+FFFF", "\239\191\191" }, { "6.9.4 U+10FFFF", "\244\143\191\191" },
  { "6.11.1 U+D7FF", "\237\159\191" }, { "6.11.2 U+E000", "\238\128\128" }, { "6.11.3 U+FFFD", "\239\191\189" },
  { "6.22 U+FFFE", "\239\191\190" }, { "6.22 U+1FFFE", "\240\159\191\190" }, { "6.22 U+FDD0", "\239\183\144" },
  { "6.23 U+FEFF", "\239\187\191" },
}

local INVALID = {
  { "6.3 a surrogate within", GREEK .. SURROGATE .. "edited" },
  { "6.8.1 five bytes", "\248\136\128\128\128" }, { "6.8.2 six bytes", "\252\132\128\128\128\128" },
  { "6.10.1 past U+10FFFF", "\244\144\128\128" }, { "6.10.2 of F7", "\247\191\191\191" },
  { "6.10.3 the last of five bytes", "\251\191\191\191\191" }, { "6.10.4 of six", "\253\191\191\191\191\191" },
  { "6.12.1 a continuation alone", "\128" }, { "6.12.2 the last one", "\191" }, { "6.12.3 two", "\128\191" },
  { "6.12.8 behind letters", "abc\128" },
  { "6.13.1 starts of two alone", "\192 \193 \194 \195 \223 " }, { "6.13.2 of three", "\224 \239 " }, { "6.13.3 of four", "\240 \247 " },
  { "6.13.4 of five", "\248 \251 " }, { "6.13.5 of six", "\252 \253 " },
  { "6.15 sequences cut off, one behind the other", "\223\239\191\247\191\191" },
  { "6.16.1 FE", "\254" }, { "6.16.2 FF", "\255" }, { "6.16.3 both", "\254\254\255\255" },
  { "6.17.1 a slash in two bytes", "\192\175" }, { "6.17.2 in three", "\224\128\175" }, { "6.17.3 in four", "\240\128\128\175" },
  { "6.17.4 in five", "\248\128\128\128\175" }, { "6.17.5 in six", "\252\128\128\128\128\175" },
  { "6.18.1 U+007F in two bytes", "\193\191" }, { "6.18.2 U+07FF in three", "\224\159\191" }, { "6.18.3 U+FFFF in four", "\240\143\191\191" },
  { "6.19.1 U+0000 in two bytes", "\192\128" }, { "6.19.2 in three", "\224\128\128" }, { "6.19.3 in four", "\240\128\128\128" },
  { "6.20.1 U+D800", "\237\160\128" }, { "6.20.2 U+DB7F", "\237\173\191" }, { "6.20.5 U+DC00", "\237\176\128" }, { "6.20.7 U+DFFF", "\237\191\191" },
  { "6.21.1 a pair of surrogates", "\237\160\128\237\176\128" }, { "6.21.8 the last pair", "\237\175\191\237\191\191" },
}

-- Texts that end within a character are no messages.
local UNFINISHED = {
  { "6.14.1 a start of two", "\194" }, { "6.14.2 two of three", "\224\160" }, { "6.14.3 three of four", "\240\144\128" },
  { "6.14.6 two of three, at the end", "\239\191" }, { "6.14.7 behind letters", "letters\240\159\152" },
}

local function pieces(text)
  local list = {}
  for i = 1, #text do list[i] = text:sub(i, i) end
  return list
end

-- Eight bytes at a time is how letters are checked: the same with letters before and behind, at every place of a word.
local function surrounded(rows, side)
  for count = 0, 9 do
    local before = ("x"):rep(count)
    rows[#rows + 1] = { ("a character behind %d letters"):format(count), side.text(before .. "\226\130\172" .. before),
      "text " .. before .. "\226\130\172" .. before }
    rows[#rows + 1] = { ("a surrogate behind %d letters"):format(count), side.text(before .. SURROGATE .. before), "close 1007" }
  end
end

local function prefixes(rows, side)
  for length = 1, #GREEK do
    local part = GREEK:sub(1, length)
    local whole = length == #GREEK or GREEK:byte(length + 1) >= 192
    rows[#rows + 1] = { ("6.6.%d %d bytes of a word"):format(length, length), side.text(part), whole and "text " .. part or "close 1007" }
  end
end

-- At once: these stop within the frame or the message, at the byte that cannot be right.
local function failFast(rows, side)
  local function frame(text, claimed, fin) return side.frame{ opcode = 1, data = text, length = claimed, fin = fin } end
  rows[#rows + 1] = { "6.4.1 in parts, the second is wrong", side.text(GREEK, false) .. side.continuation("\244\144\128\128", false), "close 1007" }
  rows[#rows + 1] = { "6.4.2 wrong at the part's end", side.text(GREEK .. "\244", false) .. side.continuation("\144", false), "close 1007" }
  rows[#rows + 1] = { "6.4.3 within a frame", frame(GREEK .. "\244\144", 100), "close 1007" }
  rows[#rows + 1] = { "6.4.4 a byte that can begin nothing", frame(GREEK .. "\255", 100), "close 1007" }
  rows[#rows + 1] = { "a surrogate's second byte", frame("\237\160", 100), "close 1007" }
  rows[#rows + 1] = { "a ping within a character is none of it",
    side.text("\226\130", false) .. side.ping("\255\254") .. side.continuation("\172"), "pong \255\254", "text \226\130\172" }
  rows[#rows + 1] = { "a character across three parts", side.pieces("text", { "a\240", "\159\152", "\128b" }), "text a\240\159\152\128b" }
end

return function(side)
  local rows = {}
  for _, case in ipairs(VALID) do
    rows[#rows + 1] = { case[1], side.text(case[2]), "text " .. case[2] }
    rows[#rows + 1] = { case[1] .. ", a byte in each frame", side.pieces("text", pieces(case[2])), "text " .. case[2] }
  end
  for _, list in ipairs{ INVALID, UNFINISHED } do
    for _, case in ipairs(list) do
      rows[#rows + 1] = { case[1], side.text(case[2]), "close 1007" }
      rows[#rows + 1] = { case[1] .. ", a byte in each frame", side.pieces("text", pieces(case[2])), "close 1007" }
      rows[#rows + 1] = { case[1] .. " as binary is fine", side.binary(case[2]), "binary " .. case[2] }
    end
  end
  surrounded(rows, side)
  prefixes(rows, side)
  failFast(rows, side)
  return rows
end
