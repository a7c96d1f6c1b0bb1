--- Files of environment variables, for --env-file and process.loadEnvFile, in Node's format:
---
---     # a comment
---     NAME=value            # what follows a blank and `#`, or blanks at the ends, is no part of it
---     export NAME='quoted'  also " and `, over several lines; "\n" is a newline in double quotes alone
local uv = require("luv")

local env_file = {}

local function trim(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end

-- The value that begins at `at`, and where the line that it ends on ends.
local function readValue(text, at)
  at = text:match("^[ \t]*()", at)
  local quote = text:match("^[\"'`]", at)
  local close = quote and text:find(quote, at + 1, true)
  local stop = text:find("\n", close or at, true) or #text + 1
  if not close then return trim((text:sub(at, stop - 1):gsub("#.*$", ""))), stop end
  local value = text:sub(at + 1, close - 1)
  return quote == '"' and value:gsub("\\n", "\n") or value, stop
end

--- The variables of a text; of one that is set twice the last value.
---@param text string
---@return table<string, string>
function env_file.parse(text)
  local values, at = {}, 1
  text = text:gsub("\r\n?", "\n")
  while true do
    at = text:match("^%s*()", at)
    if at > #text then return values end
    local stop = text:find("\n", at, true) or #text + 1
    local equals = text:find("=", at, true)
    if text:byte(at) ~= 35 and equals and equals < stop then
      local name = trim(text:sub(at, equals - 1):gsub("^export%s+", ""))
      local value
      value, stop = readValue(text, equals + 1)
      if name ~= "" then values[name] = value end
    end
    at = stop
  end
end

--- Sets what the files say and the environment has not; a later file wins over an earlier one.
---@param paths string[]
---@return Error? err of the first file that cannot be read; then nothing is set
function env_file.load(paths)
  local all = {}
  for _, path in ipairs(paths) do
    local fd, _, code = uv.fs_open(path, "r", 0)
    local stat = fd and uv.fs_fstat(fd)
    local text
    if stat and stat.type == "directory" then code = "EISDIR" elseif fd then
      local chunks = {}
      repeat
        text, _, code = uv.fs_read(fd, 65536, -1)
        chunks[#chunks + 1] = text
      until not text or text == ""
      text = text and table.concat(chunks)
    end
    if fd then uv.fs_close(fd) end
    if not text then return require("errors").system(code, "open", { path = path }) end
    for name, value in pairs(env_file.parse(text)) do all[name] = value end
  end
  local env = require("process").env
  for name, value in pairs(all) do
    if env[name] == nil then env[name] = value end
  end
end

return env_file
