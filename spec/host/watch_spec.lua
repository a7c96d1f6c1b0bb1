local child_process = require("child_process")
local children = require("spec.support.children")
local fs = require("fs")
local lrun = require("spec.support.lrun")
local uv = require("luv")

describe("--watch", function()
  local folder, child, output

  before_each(function() folder, output = assert(uv.fs_realpath(uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-watch-spec-XXXXXX"))), "" end)

  after_each(function()
    if child and child.exitCode == nil and child.signalCode == nil then
      child:kill("SIGTERM")
      children.once(child, "close")
    end
    fs.rmSync(folder, { recursive = true })
  end)

  local function write(name, text) fs.writeFileSync(folder .. "/" .. name, text) end

  local function start(...)
    child = child_process.spawn(process.execPath, { "--watch", ... }, { cwd = folder, stdio = { "ignore", "pipe", "pipe" } })
    child.stdout:on("data", function(data) output = output .. data end)
    child.stderr:on("data", function(data) output = output .. data end)
  end

  -- Waits for a pattern in what has come since the last wait.
  local function see(pattern)
    local first, last, capture
    local ok = pcall(children.eventually, function()
      first, last, capture = output:find(pattern)
      return first
    end)
    if not ok then error("no " .. pattern .. " in:\n" .. output, 2) end
    output = output:sub(last + 1)
    return capture
  end

  local KEEP = "\nrequire('timers').setInterval(function() end, 1000)\n"

  it("starts anew when a file that was loaded changes, whichever way it is written", function()
    write("part.lua", "return 'one'")
    write("other.lua", "return 1")
    write("app.lua", "print('run ' .. process.pid .. ' ' .. require('./part') .. ' ' .. (...))" .. KEEP)
    start("app.lua", "argument")
    local pid = see("run (%d+) one argument\n")
    write("other.lua", "return 2")        -- nobody loaded it
    write("part.lua", "return 'two'")
    assert.not_equal(pid, see("^run (%d+) two argument\n"))
    write("new", "return 'three'")
    fs.renameSync(folder .. "/new", folder .. "/part.lua")
    pid = tonumber(see("^run (%d+) three argument\n"))
    child:kill("SIGTERM")
    children.once(child, "close")
    assert.equal(143, child.exitCode)
    assert.is_nil((uv.kill(pid, 0)))
  end)

  it("shows a syntax error and lets the program go on; starts one that ended", function()
    write("app.lua", "print('run one')" .. KEEP)
    start("app.lua")
    see("run one\n")
    write("app.lua", "print('run two')\nlocal = 1")
    see("lrun %-%-watch: [^\n]*app%.lua:2: [^\n]*; the program goes on as it is\n")
    write("app.lua", "print('run three')\nprocess.exit(4)")
    see("^run three\n.-the program ended with code 4")
    write("app.lua", "print('run four')\nerror('on purpose')")
    see("run four\n.-on purpose")
    see("the program ended with code 1")
    write("app.lua", "print('run five')" .. KEEP)
    see("run five\n")
  end)

  it("reloads a cluster", function()
    write("work.lua", "return 'one'")
    write("app.lua", [[
      local cluster = require("cluster")
      if cluster.isPrimary then
        print("primary " .. process.pid)
        cluster.fork()
      else
        print("worker " .. require("./work"))
        require("net").createServer():listen(0)
      end]])
    start("app.lua")
    see("^primary %d+\n")
    see("worker one\n")
    write("work.lua", "return 'two'")
    see("^worker two\n")
    write("work.lua", "return 'three'")
    see("^worker three\n")
  end)

  it("watches other folders", function()
    fs.mkdirSync(folder .. "/views/below", { recursive = true })
    write("views/below/page.html", "<p>one")
    write("app.lua", "print(require('fs').readFileSync('views/below/page.html'))" .. KEEP)
    start("--watch-path", "views", "app.lua")
    see("<p>one\n")
    write("views/below/page.html", "<p>two")
    see("<p>two\n")
    write("views/new.html", "")
    see("<p>two\n")
  end)

  it("says what is wrong with its use", function()
    for _, case in ipairs{
      { 2, "'--watch' needs a script", "--watch" }, { 2, "'--watch' needs a script", "--watch", "-e", "1" },
      { 2, "'--watch-path' belongs to '--watch'", "--watch-path", "x", "x.lua" },
      { 2, "--watch-path /no/such is no folder", "--watch", "--watch-path", "/no/such", "x.lua" },
    } do
      local code, text = table.remove(case, 1), table.remove(case, 1)
      local _, err, ended = lrun.run(case)
      assert.truthy(err:find(text, 1, true), err)
      assert.equal(code, ended)
    end
  end)
end)

describe("a file of variables", function()
  local path

  before_each(function() path = os.tmpname() end)
  after_each(function() uv.fs_unlink(path) end)

  local function parse(text) return require("lrun.host.env_file").parse(text) end

  it("is read as Node reads it", function()
    for text, expected in pairs{
      ["A=1\r\n\r\n# B=2\n export C = c d # e\n"] = { A = "1", C = "c d" },
      ["A='a\nb' # c\nB=\"x\\ny\"z\nC=`\"'`"] = { A = "a\nb", B = "x\ny", C = "\"'" },
      ["A='\nB=\nC=#\n=D\nE"] = { A = "'", B = "", C = "" },
      ["A=1\nA=2"] = { A = "2" },
      [""] = {},
    } do assert.same(expected, parse(text)) end
  end)

  it("gives what the environment has not, also to children; a later one wins", function()
    local second = os.tmpname()
    finally(function() uv.fs_unlink(second) end)
    fs.writeFileSync(path, "SPEC_A=1\nSPEC_B=1\nHOME=/nowhere\n")
    fs.writeFileSync(second, "SPEC_B=2\n")
    assert.equal("1\t2\tfalse\n1 2\n", (lrun.run{ "--env-file", path, "--env-file=" .. second, "-e",
      "print(process.env.SPEC_A, os.getenv('SPEC_B'), process.env.HOME == '/nowhere') os.execute('echo $SPEC_A $SPEC_B')" }))
    assert.equal(("{ %q, %q }\n"):format("--env-file", path), (lrun.run{ "--env-file", path, "-p", "process.execArgv" }))
  end)

  it("is an error with code 9 where it cannot be read", function()
    local _, err, code = lrun.run{ "--env-file", "/no/such", "-e", "print(1)" }
    assert.equal("lrun: --env-file: ENOENT: no such file or directory, open '/no/such'\n", err)
    assert.equal(9, code)
    _, err, code = lrun.run{ "--env-file", "/tmp", "-e", "print(1)" }
    assert.equal("lrun: --env-file: EISDIR: illegal operation on a directory, open '/tmp'\n", err)
    assert.equal(9, code)
  end)

  it("is loaded by a program, too", function()
    fs.writeFileSync(path, "SPEC_LOADED=yes\n")
    process.loadEnvFile(path)
    assert.equal("yes", process.env.SPEC_LOADED)
    process.env.SPEC_LOADED = nil
    local ok, failure = pcall(process.loadEnvFile)
    assert.is_false(ok)
    assert.equal("ENOENT: no such file or directory, open '.env'", tostring(failure))
    assert.has_error(function() process.loadEnvFile(1) end)
  end)
end)

describe("--test", function()
  it("runs specs on the main coroutine", function()
    local path = os.tmpname() .. "_spec.lua"
    finally(function() uv.fs_unlink(path) end)
    local function run(text)
      fs.writeFileSync(path, text)
      local out, err, code = lrun.run{ "--test", "--output=TAP", path }
      return out .. err, code
    end
    local text, code = run("it('waits', function() require('await').sleep(1) assert.equal(1, 1) end)")
    assert.truthy(text:find("ok 1 - waits", 1, true), text)
    assert.equal(0, code)
    text, code = run("it('fails', function() assert.equal(1, 2) end)")
    assert.truthy(text:find("not ok 1 - fails", 1, true), text)
    assert.equal(1, code)
    text, code = run("it('hangs', function() require('await')(function() end) end)")
    assert.truthy(text:find("_spec.lua:1: the script waits here", 1, true), text)
    assert.not_equal(0, code)
  end)

  it("names what is missing", function()
    local result = child_process.spawnSync(process.execPath, { "--test" }, { env = { LUA_PATH = "./?.lua", LUA_CPATH = "" } })
    assert.equal("lrun: --test needs busted: install Debian's package lua-busted, or `luarocks install busted`\n", result.stderr)
    assert.equal(1, result.status)
  end)
end)

