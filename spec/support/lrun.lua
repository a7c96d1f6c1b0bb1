--- Starts lrun as a user would and waits for its end, through a shell, without a module of the runtime under test.
local lrun = {}

local function quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

--- Runs `lrun args…`. Returns its standard output, standard error, and exit code as a shell tells it.
---@param args string[]
---@param input string? standard input
---@return string stdout, string stderr, integer code
function lrun.run(args, input)
  local errors, inputFile = os.tmpname(), nil
  local words = { quote(process.execPath) }
  for _, each in ipairs(args) do words[#words + 1] = quote(each) end
  if input then
    inputFile = os.tmpname()
    local file = assert(io.open(inputFile, "wb"))
    file:write(input)
    file:close()
  end
  local pipe = assert(io.popen(("%s 2>%s <%s; echo \"//$?\""):format(
    table.concat(words, " "), quote(errors), quote(inputFile or "/dev/null"))))
  local output = pipe:read("*a")
  pipe:close()
  local file = assert(io.open(errors, "rb"))
  local stderr = file:read("*a")
  file:close()
  os.remove(errors)
  if inputFile then os.remove(inputFile) end
  local stdout, code = output:match("^(.*)//(%d+)\n$")
  return stdout, stderr, tonumber(code)
end

--- `lrun -e code`.
function lrun.eval(code, ...) return lrun.run({ "-e", code, ... }) end

return lrun
