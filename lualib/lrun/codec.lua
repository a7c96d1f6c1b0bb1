--- The libraries that turn a message into bytes and back, as runtime/codec.c calls them: a sequence of four functions.
---
--- JSON conventions: an empty table is `{}`; holes in a sequence are `null`; NaN and the infinities are `null`, as
--- JSON.stringify has it; a `null` that arrives is nil in an object and `json.null` in an array.
local buffer = require("string.buffer")
local cjson = require("cjson").new()

cjson.encode_sparse_array(true)
cjson.encode_invalid_numbers("null")
cjson.decode_invalid_numbers(false)

local null = cjson.null

-- An object's keys are strings, an array's are numbers.
local function dropNulls(value)
  for key, each in pairs(value) do
    if each == null then
      if type(key) == "string" then value[key] = nil end
    elseif type(each) == "table" then
      dropNulls(each)
    end
  end
end

local function decodeJson(text)
  local value = cjson.decode(text)
  if text:find("null", 1, true) then
    if value == null then return nil end
    if type(value) == "table" then dropNulls(value) end
  end
  return value
end

return { buffer.encode, buffer.decode, cjson.encode, decodeJson }
