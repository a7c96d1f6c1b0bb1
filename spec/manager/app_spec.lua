local app = require("lrun.manager.app")
local config = require("lrun.manager.config")
local options = require("lrun.manager.cli.options")
local values = require("lrun.manager.values")

local files = {
  ["/w/app.lua"] = "file", ["/w/server.js"] = "file", ["/w/tool"] = "file", ["/w/plain"] = "file", ["/w/sub"] = "directory", ["/w/env"] = "file",
}

local function context(changed)
  local warnings = {}
  local made = {
    cwd = "/w", home = "/h", env = { PATH = "/bin", CALLER = "yes" }, execPath = "/usr/bin/lrun", umask = 18, warnings = warnings,
    system = { processors = 4, signals = { SIGTERM = 15, SIGINT = 2, SIGUSR2 = 12 }, user = function(name) return name == "me" and 1000 or nil end,
      group = function() return nil end },
    stat = function(path) return files[path] end, readable = function() return true end,
    executable = function(path) return path == "/w/tool" end,
    find = function(command) return (command == "sleep" or command == "node" or command == "python3") and "/bin/" .. command or nil end,
    read = function(path) return path == "/w/env" and "FROM=file\nA=file\n" or "text" end,
    resolve = function(folder, path) return path:sub(1, 1) == "/" and path or folder .. "/" .. path:gsub("^%./", "") end,
    warn = function(text) warnings[#warnings + 1] = text end,
  }
  for key, value in pairs(changed or {}) do made[key] = value end
  return made
end

local function normalize(raw, changed) return app.normalize(raw, context(changed), "app") end

local function refused(raw, pattern, changed)
  local ok, err = pcall(normalize, raw, changed)
  assert.is_false(ok)
  assert.equal("table", type(err), tostring(err))
  assert.truthy(err.usage:find(pattern), err.usage)
end

describe("an app's normal form", function()
  it("has every field, absolute paths, ms and bytes", function()
    local made = normalize{ script = "./app.lua", killTimeout = "2s", maxMemory = "100M", args = { "--n", 3 }, out = "o.log" }
    assert.equal("/w/app.lua", made.script)
    assert.equal("/w", made.cwd)
    assert.equal("app", made.name)
    assert.equal("lrun", made.interpreter)
    assert.equal("fork", made.mode)
    assert.equal("uptime", made.ready)
    assert.equal(2000, made.killTimeout)
    assert.equal(100 * 1024 * 1024, made.maxMemory)
    assert.same({ "--n", "3" }, made.args)
    assert.equal("/w/o.log", made.out)
    assert.equal(16, made.maxRestarts)
    assert.equal("yes", made.base.CALLER)
  end)

  it("is a cluster for Lua and Node with instances", function()
    assert.equal("cluster", normalize{ script = "app.lua", instances = "max" }.mode)
    assert.equal(4, normalize{ script = "app.lua", instances = "max" }.instances)
    assert.equal(3, normalize{ script = "app.lua", instances = -1 }.instances)
    assert.equal(4, normalize{ script = "app.lua", instances = 0 }.instances)
    assert.equal("cluster", normalize{ script = "server.js", instances = 2 }.mode)
    assert.equal("fork", normalize{ script = "tool", instances = 2 }.mode)
    assert.equal("fork", normalize{ script = "app.lua", instances = 2, mode = "fork" }.mode)
    assert.equal("listen", normalize{ script = "app.lua", instances = 2 }.ready)
    refused({ script = "tool", mode = "cluster" }, "Lua and Node")
  end)

  it("takes pm2's names, and warns of what means nothing", function()
    local its = context()
    local made = app.normalize({ script = "app.lua", exec_mode = "fork_mode", kill_timeout = 1600, max_memory_restart = "200M", wait_ready = true,
      pmx = true, out_file = "x.log", exp_backoff_restart_delay = 50, disable_logs = false }, its, "app")
    assert.equal(1600, made.killTimeout)
    assert.equal("message", made.ready)
    assert.equal(50, made.backoff)
    assert.equal("/w/x.log", made.out)
    assert.equal(1, #its.warnings)
    assert.truthy(its.warnings[1]:find("pmx", 1, true))
    assert.equal("/dev/null", normalize{ script = "app.lua", disable_logs = true }.err)
  end)

  it("finds files, commands and shell commands", function()
    assert.equal("program", normalize{ script = "sleep" }.kind)
    assert.equal("shell", normalize{ script = "sleep 5 && true" }.kind)
    assert.equal("sleep", normalize{ script = "sleep 5 && true" }.name)
    assert.is_nil(normalize{ script = "tool" }.interpreter)
    assert.equal("/w/app.lua", normalize{ script = "app" }.script)
    refused({ script = "nosuch.lua" }, "nosuch%.lua")
    refused({ script = "sub" }, "directory")
    refused({ script = "plain" }, "interpreter")
    refused({ script = "app.lua", interpreter = "nosuchinterpreter" }, "nosuchinterpreter")
    refused({}, "script")
  end)

  it("lays file, field and section over the caller's environment", function()
    local raw = { script = "app.lua", envFile = "env", port = 8000, env = { A = "field", N = 3 }, env_production = { A = "live" } }
    local made = normalize(raw, { section = "production" })
    assert.same({ FROM = "file", A = "live", N = "3", PORT = "8000" }, made.env)
    assert.equal("field", normalize(raw).env.A)
    assert.is_true(normalize(raw, { section = "nosuch" }).unknownSection)
  end)

  it("refuses unknown fields and impossible values by their names", function()
    refused({ script = "app.lua", instance = 2 }, "'instance'.*'instances'")
    refused({ script = "app.lua", killTimeout = "soon" }, "killTimeout.*soon")
    refused({ script = "app.lua", instances = 10000 }, "10000")
    refused({ script = "app.lua", instances = "many" }, "many")
    refused({ script = "app.lua", maxMemory = "300" }, "300M")
    refused({ script = "app.lua", maxMemory = 300 }, "300M")
    refused({ script = "app.lua", cron = "0 0 30 2 *" }, "never")
    refused({ script = "app.lua", uid = "nosuchuser" }, "nosuchuser")
    refused({ script = "app.lua", stopSignal = "SIGTREM" }, "SIGTERM")
    refused({ script = "app.lua", ready = "soon" }, "soon")
    refused({ script = "app.lua", ready = "listen" }, "cluster")
    refused({ script = "app.lua", ready = { http = "/ok" } }, "port")
    refused({ script = "app.lua", health = { http = "/ok", port = 80, evry = 3 } }, "evry.*every")
    refused({ script = "app.lua", limits = { nofiles = 3 } }, "nofiles.*nofile")
    refused({ script = "app.lua", name = "a/b" }, "'/'")
    refused({ script = "app.lua", listen = { "nowhere" } }, "nowhere")
    refused({ script = "app.lua", listen = { "0.0.0.0:70000" } }, "70000")
    refused({ script = "app.lua", umask = "999" }, "999")
    refused({ script = "app.lua", env = { ["A=B"] = 1 } }, "A=B")
    refused({ script = "app.lua", args = { "a\0b" } }, "null byte")
  end)

  it("differs by its fields, not by the caller's environment", function()
    local a, b = normalize{ script = "app.lua", env = { V = "1" } }, normalize{ script = "app.lua", env = { V = "1" } }
    b.base = {}
    assert.same({}, app.differences(a, b))
    b.env.V, b.killTimeout = "2", 5
    assert.same({ "env", "killTimeout" }, app.differences(a, b))
  end)

  it("cannot be after nobody, nor in a circle", function()
    local function check(list, known)
      local ok, err = pcall(app.checkOrder, list, function(name) return name == known end)
      return ok and "fine" or err.usage
    end
    assert.equal("fine", check({ { name = "a", after = { "b" } }, { name = "b", after = {} } }))
    assert.equal("fine", check({ { name = "a", after = { "running" } } }, "running"))
    assert.truthy(check({ { name = "a", after = { "nobody" } } }):find("nobody", 1, true))
    assert.truthy(check({ { name = "a", after = { "b" } }, { name = "b", after = { "a" } } }):find("circle", 1, true))
  end)
end)

describe("values", function()
  it("are split into words as a shell would", function()
    assert.same({ "a", "b c", "d'e", "" }, values.words([[a "b c"   d"'"e '']]))
  end)
end)

describe("configurations", function()
  it("are known by their endings", function()
    for _, word in ipairs{ "-", "a.json", "x/lrun.config.lua", "ecosystem.config.js", "e.config.cjs" } do assert.is_true(config.isName(word)) end
    for _, word in ipairs{ "app.lua", "app.js", "json", "config.lua.txt" } do assert.is_false(config.isName(word)) end
  end)

  local function read(text)
    return config.read("-", { cwd = "/w", warn = function() end, input = function() return text end })
  end
  local function refusedText(text, pattern)
    local ok, err = pcall(read, text)
    assert.is_false(ok)
    assert.truthy(err.usage:find(pattern), err.usage)
  end

  it("hold apps, also without the key, and name what is wrong", function()
    assert.equal(2, #read('{"apps":[{"script":"a"},{"script":"b"}]}').raw)
    assert.equal(1, #read('[{"script":"a"}]').raw)
    assert.equal(1, #read('{"script":"a"}').raw)
    assert.equal(0, #read('{"apps":[]}').raw)
    refusedText("{ apps", "standard input.*line 1")
    refusedText('{"app":[]}', "apps")
    refusedText('{"apps":[],"aps":1}', "'aps'.*'apps'")
    refusedText('{"apps":[1]}', "app 1")
    refusedText('"text"', "table")
  end)
end)

describe("options of a verb", function()
  local verb = { name = "v", numbers = true, options = {
    { name = "name", short = "n", value = "TEXT", field = "name" }, { name = "lines", value = "N" }, { name = "follow", short = "f" },
    { name = "max-memory", value = "SIZE", field = "maxMemory", aliases = { "max-memory-restart" } },
  } }
  local function read(...) return options.read(verb, { ... }) end

  it("are long, short, with and without values", function()
    local got = read("a", "--name", "x", "--lines=3", "-f", "-2", "--max-memory-restart", "1M", "--", "--name", "-z")
    assert.same({ name = "x", maxMemory = "1M" }, got.fields)
    assert.equal("3", got.lines)
    assert.is_true(got.follow)
    assert.same({ "a", "-2" }, got.words)
    assert.same({ "--name", "-z" }, got.rest)
    assert.is_false(read("--no-follow").follow)
    assert.equal("y", read("-ny").fields.name)
  end)

  it("are refused with what is nearest", function()
    local function refusal(...)
      local ok, err = pcall(read, ...)
      assert.is_false(ok)
      return err.usage
    end
    assert.truthy(refusal("--line", "3"):find("--lines", 1, true))
    assert.truthy(refusal("--nam", "x"):find("--name", 1, true))
    assert.truthy(refusal("--lines"):find("needs a value", 1, true))
    assert.truthy(refusal("-q"):find("'-q'", 1, true))
    assert.truthy(refusal("--follow=3"):find("no value", 1, true))
  end)
end)
