--- Runs the code of README.md and docs/: each Lua block is a program of its own, in a temporary directory, which must end
--- with 0 and, where a block of `text` follows, print just that. 8000 in it becomes a free port. A comment before a block
--- says otherwise: `<!-- fragment -->` is only parsed, `<!-- file NAME -->` is put beside the page's other blocks under that
--- name, and run by `lrun --test` where it is a spec, `<!-- answers TEXT -->` is a server that is ended when it has answered a
--- request for / so, `<!-- prints TEXT -->` a program that is ended when it has printed that. Where a block has `localhost:6379`
--- a redis-server runs for the page, and that becomes its port; without the program such blocks are only parsed.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")
local net = require("net")
local timers = require("timers")
local markdown = require("spec.support.markdown")
local program = require("spec.support.program")

local LIMIT = 10000                 -- ms for one block
local PAUSE = 10                    -- ms between two tries to reach a server

local TUTORIAL = "docs/tutorial.md"  -- its blocks need one another: spec/tutorial_spec.lua

local root = process.cwd()

local function pages()
  local list = { "README.md", "examples/README.md" }
  for _, name in ipairs(fs.readdirSync("docs")) do
    if name:find("%.md$") then list[#list + 1] = "docs/" .. name end
  end
  return list
end

-- The answer to a request on a connection of its own, or nil.
local function request(port)
  return await(function(callback)
    local received = {}
    local socket = net.connect(port, "127.0.0.1")
    socket:setTimeout(500, function() socket:destroy() end)
    socket:on("error", function() end)
    socket:on("data", function(data) received[#received + 1] = data end)
    socket:on("close", function() callback(received[1] and table.concat(received)) end)
    socket:write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
  end)
end

local Run = {}
Run.__index = Run

local function start(arguments, directory)
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  env.HOME, env.TMPDIR = directory, directory
  local child = child_process.spawn(process.execPath, arguments,
    { cwd = directory, env = env, detached = true, stdio = { "ignore", "pipe", "pipe" } })
  local run = setmetatable({ child = child, stdout = "", stderr = "", over = false }, Run)
  for _, name in ipairs{ "stdout", "stderr" } do
    child[name]:on("data", function(data)
      run[name] = run[name] .. data
      if run.look then run.look() end
    end)
  end
  run.timer = timers.setTimeout(function()
    run.late = true
    run:kill()
  end, LIMIT)
  child:once("close", function()
    run.over = true
    timers.clearTimeout(run.timer)
    if run.look then run.look() end
  end)
  return run
end

function Run:kill() pcall(process.kill, -self.child.pid, "SIGKILL") end

-- Waits until `done()` or the end; returns whether it was done.
function Run:wait(done)
  await(function(callback)
    function self.look()
      if not self.over and not done() then return end
      self.look = nil
      callback()
    end
    self.look()
  end)
  return done()
end

function Run:output() return ("it printed:\n%s%s"):format(self.stdout, self.stderr) end

local function ends(run, expected)
  run:wait(function() return run.over end)
  assert(not run.late, "it does not end; " .. run:output())
  assert(run.child.exitCode == 0, ("it ended with %s; %s"):format(run.child.exitCode or run.child.signalCode, run:output()))
  if expected then assert.equal(expected, run.stdout) end
end

local function prints(run, text)
  assert(run:wait(function() return run.stdout:find(text, 1, true) ~= nil end), "no " .. text .. "; " .. run:output())
end

local function answers(run, text, port)
  local answer
  repeat
    answer = request(port)
    if not answer then await.sleep(PAUSE) end
  until answer and answer:find(text, 1, true) or run.over
  assert(not run.over, "it ended; " .. run:output())
end

local REDIS = "localhost:6379"

local function hasRedis() return child_process.spawnSync("redis-server", { "--version" }).status == 0 end

-- A server for the blocks that speak to one; returns its port and what ends it.
local function startRedis(directory)
  local port = program.port()
  local child = child_process.spawn("redis-server", { "--port", tostring(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory },
    { stdio = { "ignore", "pipe", "ignore" } })
  await(function(callback)
    local text = ""
    child.stdout:on("data", function(data)
      text = text .. data
      if text:find("Ready to accept", 1, true) then callback() end
    end)
    child:on("exit", function() callback() end)
  end)
  return port, function()
    child:kill("SIGKILL")
    await(function(callback) child:once("close", callback) end)
  end
end

local function writeBlock(page, path, block, port, redisPort)
  local text = block.text:gsub("%f[%d]8000%f[%D]", tostring(port))
  if redisPort then text = text:gsub("localhost:6379", "127.0.0.1:" .. redisPort) end
  -- So that the lines of its errors are the page's.
  fs.writeFileSync(path, ("\n"):rep(block.line - 1) .. text)
  assert(loadstring(text, "@" .. page))
end

-- A spec of the page's is run as a reader would.
local function checkSpec(name, directory) ends(start({ "--test", name }, directory)) end

local function check(page, block, directory, port, redisPort)
  local name = (block.note or ""):match("^file (.+_spec%.lua)$")
  if name and page ~= TUTORIAL then return checkSpec(name, directory) end
  local path = ("%s/%s_%d.lua"):format(directory, page:match("([^/]+)%.md$"), block.line)
  writeBlock(page, path, block, port, redisPort)
  local kind, text = (block.note or ""):match("^(%w+) ?(.*)$")
  if kind == "fragment" or kind == "file" or block.text:find(REDIS, 1, true) and not redisPort then return end
  local run = start({ path }, directory)
  if kind == "prints" then prints(run, text)
  elseif kind == "answers" then answers(run, text, port)
  else ends(run, block.expected) end
  run:kill()
  run:wait(function() return run.over end)
end

local function luaBlocks(page)
  local list = {}
  local all = markdown.blocks(page)
  for i, block in ipairs(all) do
    if block.language == "lua" then
      local following = all[i + 1]
      -- Right behind it: one line for the end of the first, one for the start of the second.
      local _, lines = block.text:gsub("\n", "")
      if following and following.language == "text" and following.line == block.line + lines + 2 then
        block.expected = following.text
      end
      list[#list + 1] = block
    end
  end
  return list
end

for _, page in ipairs(pages()) do
  describe(page, function()
    local blocks = luaBlocks(page)
    local directory, port, redisPort, stopRedis

    setup(function()
      directory, port = fs.mkdtempSync("/tmp/lrun-docs-"), program.port()
      for _, block in ipairs(blocks) do
        if not stopRedis and block.text:find(REDIS, 1, true) and hasRedis() then redisPort, stopRedis = startRedis(directory) end
      end
      for _, block in ipairs(blocks) do
        local name = (block.note or ""):match("^file (.+)$")
        if name then
          fs.mkdirSync(directory .. "/" .. (name:match("^(.*)/") or ""), { recursive = true })
          writeBlock(page, directory .. "/" .. name, block, port, redisPort)
        end
      end
    end)

    teardown(function()
      if stopRedis then stopRedis() end
      fs.rmSync(directory, { recursive = true, force = true })
    end)

    for _, block in ipairs(blocks) do
      it("runs the block of line " .. block.line, function() check(page, block, directory, port, redisPort) end)
    end

    it("has no mistake in other languages", function()
      for _, block in ipairs(markdown.blocks(page)) do
        if block.language == "json" then json.decode(block.text) end
        if block.language == "sh" then child_process.execFileSync("sh", { "-n" }, { input = block.text }) end
      end
    end)

    it("has links that lead somewhere", function()
      for _, link in ipairs(markdown.links(page)) do
        local file, anchor = link:match("^([^#]*)#?(.*)$")
        local target = file == "" and page or (page:match("^.*/") or "") .. file
        assert(fs.existsSync(root .. "/" .. target), "no " .. link)
        if anchor ~= "" then assert(markdown.anchors(target)[anchor], "no " .. link) end
      end
    end)
  end)
end

describe("docs/README.md", function()
  it("lists every page", function()
    local listed = {}
    for _, link in ipairs(markdown.links("docs/README.md")) do listed[link:match("^[^#]*")] = true end
    for _, name in ipairs(fs.readdirSync("docs")) do
      assert(name == "README.md" or name == "images" or listed[name], name .. " is not listed")
    end
  end)
end)

describe("docs/licenses.md", function()
  it("names all that is linked", function()
    local text = fs.readFileSync("docs/licenses.md")
    local count = 0
    for name in child_process.execFileSync(process.execPath, { "--licenses" }):gmatch("\n======== (%S+) ========\n") do
      assert(text:find(name, 1, true), name .. " is not there")
      count = count + 1
    end
    assert(count > 5, count)
  end)
end)

describe("the modules' pages", function()
  local function isPublic(name) return type(name) == "string" and not name:find("^_") end

  -- `errors` holds what the runtime makes errors with, and `os` Lua's own functions; they are nobody's promise.
  local LEFT_OUT = { errors = "argType argValue badPort coded missing outOfRange system", repl = "start",
    os = "clock date difftime execute exit getenv remove rename setlocale time tmpname" }
  -- Methods that `events` and `stream` have are described there.
  local SHARED = {}
  for _, class in pairs(require("stream")) do
    if type(class) == "table" then
      for name in pairs(class) do SHARED[name] = true end
    end
  end
  for name in pairs(require("events").EventEmitter) do SHARED[name] = true end

  local function isIn(page, name) return page.text:find("%f[%w_]" .. name .. "%f[^%w_]") end

  local function look(page, label, names, missing)
    for name, value in pairs(names) do
      local own = type(value) ~= "function" or page.isBase or not SHARED[name]
      if isPublic(name) and own and not isIn(page, name) and not isIn(page, (name:gsub("Sync$", ""))) then
        missing[#missing + 1] = label .. name
      end
    end
  end

  for _, name in ipairs(require("lrun.repl.complete").modules()) do
    if fs.existsSync("docs/" .. name .. ".md") then
      it("name all that " .. name .. " has", function()
        local page = { text = fs.readFileSync("docs/" .. name .. ".md"), isBase = name == "events" or name == "stream" }
        local missing, own = {}, {}
        for key, value in pairs(require(name)) do
          if not (LEFT_OUT[name] or ""):find("%f[%w]" .. key .. "%f[%W]") then own[key] = value end
          local isClass = type(value) == "table" and rawget(value, "__index") ~= nil
          if isClass then
            local members = {}
            for member, method in pairs(value) do
              if type(method) == "function" and member ~= "initialize" then members[member] = method end
            end
            for member in pairs(rawget(value, "__getters") or {}) do members[member] = true end
            look(page, key .. ":", members, missing)
          end
        end
        look(page, name .. ".", own, missing)
        table.sort(missing)
        assert.same({}, missing)
      end)
    end
  end

  it("list every code of the runtime's errors", function()
    local missing, page, used = {}, fs.readFileSync("docs/errors.md"), {}
    local function readFolder(folder)
      for _, entry in ipairs(fs.readdirSync(folder, { withFileTypes = true })) do
        local path = folder .. "/" .. entry.name
        if entry:isDirectory() then readFolder(path) else
          for code in fs.readFileSync(path):gmatch('"(ERR_[%u%d_]+)"') do
            used[code] = true
            if not page:find("`" .. code .. "`", 1, true) then missing[code] = path end
          end
        end
      end
    end
    readFolder("lualib")
    readFolder("runtime")
    for code in page:gmatch("`(ERR_[%u%d_]+)`") do
      if not used[code] then missing[code] = "is not used" end
    end
    assert.same({}, missing)
  end)
end)

describe("examples/", function()
  it("are in the list, and say what they do and how to run them", function()
    local listed = {}
    for _, link in ipairs(markdown.links("examples/README.md")) do listed[link] = true end
    for _, name in ipairs(fs.readdirSync("examples", { recursive = true })) do
      if name:find("%.lua$") then
        assert(listed[name], name .. " is not listed")
        local head = {}
        for line in io.lines("examples/" .. name) do
          if not line:find("^%-%-") then break end
          head[#head + 1] = line
        end
        local text = table.concat(head, "\n")
        assert(#head > 1 and (text:find("Run it", 1, true) or text:find("starts it", 1, true)), name .. " does not say how to run it")
      end
    end
  end)
end)

describe("docs/how-it-works.md", function()
  it("names functions that are in the files it names", function()
    local rows = 0
    for line in io.lines("docs/how-it-works.md") do
      local names, file = line:match("^|[^|]*|([^|]*)|[^|]*%]%((%.%./[^)]*)%)[^|]*|$")
      if file then
        rows = rows + 1
        local source = fs.readFileSync("docs/" .. file)
        for name in names:gmatch("`([^`]+)`") do assert(source:find(name, 1, true), name .. " is not in " .. file) end
      end
    end
    assert.is_true(rows > 50, "only " .. rows .. " rows were looked at")
  end)
end)
