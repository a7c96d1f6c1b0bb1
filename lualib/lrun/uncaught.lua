--- What becomes of an error that nobody caught: `uncaughtException` listeners get the thrown value; without one it is
--- printed with a traceback and the process ends with code 1.
local errors = require("errors")
local process = require("process")

-- A traceback without the runtime's own frames. Returns the text and the place of the first frame that is the user's.
local function traceback(coroutine)
  local lines, place = {}, nil
  for line in debug.traceback(coroutine):gmatch("[^\n]+") do
    local where = line:match("^\t(.-): in ")
    if where and not where:find("^lrun:") and not where:find("^%[C%]") and not where:find("^%[builtin") then
      place = place or where
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n"), place
end

local function describe(err)
  if errors.isError(err) or type(err) == "string" or type(err) == "number" then return tostring(err) end
  local meta = type(err) == "table" and getmetatable(err)
  if type(meta) == "table" and meta.__tostring then return tostring(err) end
  return "(error object is " .. (type(err) == "table" and require("inspect").inspect(err) or tostring(err)) .. ")"
end

local function print(coroutine, err)
  local trace, place = traceback(coroutine)
  local message = describe(err)
  if type(err) == "string" and message:find("^[^\n]-:%d+: ") then place = nil end
  local prefix = place and place .. ": " or type(err) ~= "string" and "lrun: " or ""
  io.stdout:flush()
  io.stderr:write(prefix, message, "\n", trace ~= "" and "stack traceback:\n" .. trace .. "\n" or "")
end

return function(coroutine, err, exiting)
  if not exiting and process:listenerCount("uncaughtException") > 0 then
    process:emit("uncaughtException", err, "uncaughtException")
    return
  end
  print(coroutine, err)
  process.exit(1)
end
