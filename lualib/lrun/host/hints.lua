--- What to type instead: a sentence for the errors that first programs end with. Lua's own words for a name that Node or
--- another Lua library has are "a nil value". Loaded when an error is printed, never before.
local modules = require("lrun.host.modules")

local hints = {}

local TIMERS = 'require("timers") has it: timers.%s(...)'

-- Globals that other runtimes have.
local GLOBALS = {
  console = 'print(x), or print(require("inspect").inspect(x)) for tables',
  setTimeout = TIMERS, setInterval = TIMERS, setImmediate = TIMERS,
  clearTimeout = TIMERS, clearInterval = TIMERS, clearImmediate = TIMERS,
  JSON = 'require("json") has json.decode(text) and json.encode(value)',
  Buffer = "strings hold any bytes",
  exports = "a module returns its value: `return x` at the end of the file",
  module = "a module returns its value: `return x` at the end of the file",
  __dirname = 'require("path").dirname(process.argv[1])',
  __filename = "process.argv[1] is the main script",
  EventEmitter = 'require("events").EventEmitter',
  Promise = 'require("await") takes the place of promises',
  fetch = 'require("fetch"), or http.get(url, function(res) print(res:body()) end)',
  Error = 'require("errors").Error:new(message, fields)',
  Date = "os.time() and os.date()", Math = "Lua has math", Object = "for key, value in pairs(t)",
  parseInt = "tonumber(x)", Number = "tonumber(x)", String = "tostring(x)",
  exit = "process.exit(code); at the prompt .exit", quit = "process.exit(code); at the prompt .exit", help = "at the prompt: .help",
  utf8 = "LuaJIT speaks Lua 5.1: a module from LuaRocks has utf8",
  AbortController = 'require("abort").AbortController:new()', throw = "error(e)", typeof = "type(x)",
  undefined = "Lua has nil", null = "Lua has nil",
}

-- Fields and methods.
local FIELDS = {
  ["end"] = "`end` is a keyword of Lua: x:finish(...)",
  json = "a response is sent with res:finish(json.encode(value)); json is require(\"json\")",
  status = "a response has res.statusCode = n, and res:writeHead(n, headers)",
  send = "a response has finish(body), a socket write(data); process.send is there in a process that was forked",
  parse = "json.decode(text)", stringify = "json.encode(value)",
  promises = "await(f, ...) waits for a function that takes a callback",
  toString = "what comes from streams are strings; else tostring(x)",
  push = "table.insert(t, value)", forEach = "for key, value in pairs(t)", map = "for key, value in pairs(t)",
  split = 'for part in text:gmatch("[^,]+") do',
  unpack = "LuaJIT speaks Lua 5.1: unpack(t)", pack = '{ n = select("#", ...), ... }',
  stdin = 'without a pipe there is no stream: stdio = "pipe"', stdout = 'without a pipe there is no stream: stdio = "pipe"',
  body = "what a server's handler gets has body(), and what a client's `response` event brings",
  fork = "only the primary forks: if cluster.isPrimary then cluster.fork() end",
  close = "a stream or socket has finish() and destroy()",
  receive = 'data comes as an event: x:on("data", function(chunk) ... end)',
  lines = 'data comes as an event: x:on("data", function(chunk) ... end); a chunk ends anywhere',
}

local MODULES = {
  util = "inspect is the module \"inspect\", promisify is await", assert = "Lua has assert(v, message)",
  buffer = "strings hold any bytes", string_decoder = "strings hold any bytes",
  socket = "the modules for sockets are net, dgram and http", ["socket.http"] = 'require("http")', ["ssl.https"] = 'require("https")',
  ws = 'require("websocket")', ["socket.io"] = 'require("websocket")', uuid = 'require("crypto").randomUUID()',
  bcrypt = 'require("crypto").scrypt, awaited', ["openssl.digest"] = 'require("crypto")', sha2 = 'require("crypto").hash("sha256", text)',
  md5 = 'require("crypto").hash("md5", text)', mime = 'require("base64")',
  express = "the module is http", koa = "the module is http", fastify = "the module is http",
  axios = 'require("http"), or require("fetch")', ["node-fetch"] = 'require("fetch")',
  worker_threads = "processes take the place of threads: child_process.fork, or the module cluster",
  lanes = "processes take the place of threads: child_process.fork, or the module cluster",
  copas = "handlers are on coroutines already: the module await", async_hooks = "handlers are on coroutines: the module await",
  promise = 'require("await")', ["fs.promises"] = 'await(fs.readFile, path), with require("fs") and require("await")',
  ["fs/promises"] = 'await(fs.readFile, path), with require("fs") and require("await")',
  ["timers/promises"] = 'require("await").sleep(ms)', ["stream/promises"] = 'await(stream.pipeline, a, b)',
  uv = 'require("luv"), or timers, net, fs and child_process of lrun', lfs = 'require("fs"), or LuaRocks\' luafilesystem',
  perf_hooks = "process.hrtime() gives nanoseconds", v8 = 'collectgarbage("count") gives KiB', vm = "loadstring(code), with setfenv",
  ioredis = 'require("redis")', dotenv = "process.loadEnvFile(), or lrun --env-file .env app.lua",
  winston = 'require("log")', pino = 'require("log")', nodemon = "lrun --watch app.lua",
  pm2 = "lrun start app.lua", jest = "lrun --test", mocha = "lrun --test",
}

-- Errors of ours, and of Lua about values that are not nil.
local TEXTS = {
  { '^The "f" argument must be of type function', 'the function and its arguments stand apart: await(child_process.exec, "ls")' },
  { '^The "functions', "await.all{ function() return ... end, ... }" },
  { '^The "cb" argument must be of type function. Received nil', "without a callback: await(fs.readFile, path), or fs.readFileSync(path)" },
  { '^The "text" argument .* Received a function', "req:body() waits for the body" },
  { '^The "chunk" argument .* Received a table', "json.encode(value) makes a string of a table" },
  { '^The "[^"]+" argument must be of type string%. Received type number', "tostring(n) makes a string of a number" },
  { '^The "destination" argument .* Received nil', "source:pipe(destination), with a colon" },
  { '^The "env" argument .* Received type string', "cluster.fork runs the primary's own script; cluster.setupPrimary{ exec = path } another" },
  { '^Header name .* %["table', "res:writeHead(status, headers) takes a table" },
  { "^spawn %S+ .* ENOENT", 'program and arguments stand apart: spawn("ls", { "-l" }); exec takes a line for the shell' },
  { "attempt to perform arithmetic on .*string value", "`..` joins strings; tonumber(x) makes a number of one" },
  { "'}' expected near '[:=]'", '{ name = value, ["Content-Type"] = value }' },
  { "'<name>' expected near 'end'", "`end` is a keyword of Lua: x:finish(...)" },
}

-- What a line of another language looks like, for errors of syntax.
local LINES = {
  { "^%s*//", "`--` starts a comment" },
  { "^%s*const%f[%s]", "`local` declares" }, { "^%s*let%f[%s]", "`local` declares" }, { "^%s*var%f[%s]", "`local` declares" },
  { "<const>", "`local` declares" }, { "<close>", "LuaJIT speaks Lua 5.1" },
  { "%f[%w_]continue%f[^%w_]", "goto continue, with ::continue:: at the end of the loop" },
  { "^%s*import%f[%s]", 'local x = require("x")' },
  { "^%s*class%f[%s]", 'local C = require("events").EventEmitter:extend("C"), or setmetatable' },
  { "^%s*async%f[%s]", 'any function may wait: require("await")' },
  { "%f[%w_]local%s*{", 'local fork = require("child_process").fork' },
  { "^%s*for%s*%(", "for i = 1, n do ... end" }, { "%f[%w_]of%f[^%w_]", "for key, value in pairs(t) do ... end" },
  { "=>", "function(a, b) ... end" },
  { "!=", "`~=` is Lua's `!=`" }, { "===", "`==` compares" }, { "!%s*[%w_(]", "`not x` is Lua's `!x`" },
  { "%+%+", "n = n + 1" }, { "[%+%-]=", "n = n + 1" },
  { "`", 'strings: "a", \'a\', [[a]]; ("pid %d"):format(n)' },
  { "&&", "`a and b`" }, { "||", "`a or b`" }, { "%?", "condition and value or other" },
  { "%f[%w_]typeof%f[^%w_]", "type(x)" }, { "^%s*delete%f[%s]", "x = nil" },
  { "//", "math.floor(a / b)" }, { "[&|~]", 'require("bit") has band, bor, bxor, lshift' },
  { "%)%s*{", "then, do, function: blocks end with `end`" },
}

local NAMES_SHOWN = 12              -- of a module that lacks a name
local LOOKED_AT = 1000              -- bytes of a message

local function find(list, text)
  for _, entry in ipairs(list) do
    if text:find(entry[1]) then return entry[2] end
  end
end

local function readFile(path)
  local file = path and io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text or ""
end

-- A global that is not there: another runtime's, a built-in module, or a local of the script that this line cannot see.
local function missingGlobal(name, path)
  if GLOBALS[name] then return GLOBALS[name]:format(name) end
  if modules.isBuiltin(name) then return ('local %s = require("%s")'):format(name, name) end
  local script = readFile(path)
  local own = script:find("%f[%w_]local%s+" .. name .. "%f[^%w_]") or script:find("%f[%w_]local%s+function%s+" .. name .. "%f[^%w_]")
  if own then return ("a local is known only behind its statement, in its block: `local %s` first, then `%s = ...`"):format(name, name) end
end

local function lineOf(source, number)
  local count = 0
  for line in source:gmatch("[^\n]*\n?") do
    count = count + 1
    if count == number then return line end
  end
end

-- How many of their first bytes two names share.
local function likeness(a, b)
  local count = 0
  while count < #a and a:byte(count + 1) == b:byte(count + 1) do count = count + 1 end
  return count
end

-- The names of a module, those first that begin as `name` does.
local function namesLike(module, name)
  local names = {}
  for key in pairs(module) do
    if type(key) == "string" and not key:find("^_") then names[#names + 1] = key end
  end
  table.sort(names, function(a, b)
    local first, second = likeness(a, name), likeness(b, name)
    if first ~= second then return first > second end
    return a < b
  end)
  local more = #names > NAMES_SHOWN and ", …" or ""
  return table.concat(names, ", ", 1, math.min(#names, NAMES_SHOWN)) .. more
end

-- The classes of a module, and how objects of them are made.
local function makers(name)
  local found = {}
  for key, value in pairs(modules.loaded(name) or {}) do
    if type(key) == "string" and key:find("^%u") and type(value) == "table" and type(value.new) == "function" then
      found[#found + 1] = ("%s.%s:new(...)"):format(name, key)
    end
  end
  table.sort(found)
  return #found > 0 and table.concat(found, ", ", 1, math.min(#found, NAMES_SHOWN)) or nil
end

-- `name` of a local that the script got from `require` of a built-in module.
local function missingOfModule(name, text, path)
  local script = readFile(path)
  local line = lineOf(script, tonumber(text:match(":(%d+): attempt")))
  local receiver = line and line:match("([%w_]+)[.:]" .. name .. "%f[^%w_]")
  local module = receiver and script:match("%f[%w_]" .. receiver .. "%s*=%s*require%s*%(?%s*[\"']([%w_]+)[\"']%s*%)?%f[%s;][%s;]")
  module = module or line and line:match("require%s*%(?%s*[\"']([%w_]+)[\"']%s*%)?%s*[.:]%s*" .. name .. "%f[^%w_]")
  local loaded = module and modules.isBuiltin(module) and modules.loaded(module)
  if type(loaded) == "table" and name == "new" then return makers(module) end
  return type(loaded) == "table" and ("%s has %s"):format(module, namesLike(loaded, name)) or nil
end

local function missing(kind, name, text, path)
  if not name:find("^[%a_][%w_]*$") then return nil end
  if kind == "global" then return missingGlobal(name, path) end
  return FIELDS[name] or missingOfModule(name, text, path)
end

local function ofOperation(text, path)
  local operation, kind, name, value = text:match("attempt to ([%a ]-) (%a+) '([^']*)' %(an? (%a+) value%)")
  if not operation then return nil end
  if value == "nil" then return missing(kind, name, text, path) end
  if name == "module" and kind == "global" then return GLOBALS.module end
  if value == "function" then return ("`%s` is a function: it must be called"):format(name) end
  if operation ~= "call" then return nil end
  if value == "table" then return name:find("^%u") and ("a class makes objects with %s:new(...)"):format(name) end
  return ("`%s` is a value, no function: it stands without ( )"):format(name)
end

-- A port that is taken.
local function ofPort(text)
  local port = text:match("^%a+ EADDRINUSE: address already in use .*:(%d+)$")
  return port and ("another program has port %s: `ss -ltnp sport = :%s` tells which"):format(port, port)
end

local function ofModule(text)
  local name = text:match("module '([^'\n]*)' not found")
  if not name then return nil end
  local plain = name:match("^node:(.*)$")
  if plain and modules.isBuiltin(plain) then return ('require("%s")'):format(plain) end
  if MODULES[plain or name] then return MODULES[plain or name] end
  local similar = require("lrun.host.similar").nearest(plain or name:gsub("^lrun:", ""), modules.names())
  return similar and ('did you mean require("%s")?'):format(similar)
end

local function ofSyntax(text, source)
  local file, line = text:match("([^\n\t]-):(%d+): [^\n]* near ")
  if not file then return nil end
  local content = lineOf(source or readFile(text:match("from file '([^'\n]*)'") or file), tonumber(line))
  return content and find(LINES, content)
end

--- The line that tells what to type instead, or nil.
---@param text string the error's message
---@param path string? the script that it happened in
---@param source string? what could not be compiled, where it is in no file
---@return string?
function hints.of(text, path, source)
  text = text:sub(1, LOOKED_AT)
  local hint = find(TEXTS, text) or ofOperation(text, path) or ofModule(text) or ofPort(text) or ofSyntax(text, source)
  return hint and "hint: " .. hint
end

--- The message of a failed compilation with its hint below.
---@param text string
---@param source string
---@return string
function hints.below(text, source)
  local hint = hints.of(text, nil, source)
  return hint and text .. "\n" .. hint or text
end

return hints
