-- cjson.lua: works of sweep.lua's as lua-cjson does them, for LuaJIT itself. Prints as that does.
local cjson = require("cjson")

local ROUNDS, COUNT = 3, 50

local fractions, digits = {}, {}
for i = 1, 9000 do
  fractions[i] = i / 7
  digits[i] = ("%.17g"):format(i / 7)
end
local text = "[" .. table.concat(digits, ",") .. "]"

local function measure(name, f, value)
  local best = math.huge
  collectgarbage()
  for _ = 1, ROUNDS do
    local started = os.clock()
    for _ = 1, COUNT do f(value) end
    best = math.min(best, (os.clock() - started) * 1e9 / COUNT)
  end
  io.stderr:write(name, "\t", best, "\n")
end

measure("JSON of 9,000 fractions", cjson.encode, fractions)
measure("9,000 fractions of JSON", cjson.decode, text)
