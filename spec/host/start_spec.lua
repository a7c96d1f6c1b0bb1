local child_process = require("child_process")
local children = require("spec.support.children")
local lrun = require("spec.support.lrun")
local uv = require("luv")

describe("a process", function()
  local function shell(command, ...)
    local result = child_process.spawnSync("sh", { "-c", command, process.execPath, ... })
    return result.stdout .. result.stderr, result.status, result.signal
  end

  it("ends by SIGINT, SIGQUIT and SIGTERM where its parent ignored them, and not by SIGHUP", function()
    local script = "process.kill(process.pid, ...) require('timers').setTimeout(print, 20, 'lives')"
    for _, name in ipairs{ "INT", "QUIT", "TERM" } do
      local _, _, signal = shell(("ulimit -c 0; trap '' %s; exec \"$0\" -e \"$1\" SIG%s"):format(name, name), script)
      assert.equal("SIG" .. name, signal)
    end
    assert.equal("lives\n", (shell("trap '' HUP; exec \"$0\" -e \"$1\" SIGHUP", script)))
  end)

  it("has random numbers of its own, unless the script seeds them", function()
    local function draw(code) return (lrun.eval(code .. " print(math.random(2 ^ 31), math.random(2 ^ 31))")) end
    assert.not_equal(draw(""), draw(""))
    assert.equal(draw("math.randomseed(7)"), draw("math.randomseed(7)"))
  end)

  it("says what it lacks when it cannot start", function()
    local failed = 0
    for limit = 4, 12 do
      local out, code = shell(("ulimit -n %d; exec \"$0\" -e 'print(1)'"):format(limit))
      if not out:find("^1\n") then      -- a sanitizer has files of its own to open at the end
        failed = failed + 1
        assert.equal(1, code)
        assert.equal("lrun: cannot start: too many open files (EMFILE)", out:match("^[^\n]*"))
      end
    end
    assert.is_true(failed > 0)
  end)

  it("keeps its loop from luv's loop_close", function()
    assert.equal("nil\tEBUSY: resource busy or locked\tEBUSY\ntimer\n",
      (lrun.eval("print(require('luv').loop_close()) require('timers').setTimeout(print, 1, 'timer')")))
  end)

  it("reports a full stack with its traceback, in a callback, in a handler, at the prompt", function()
    local deep = "local function deep() return 1 + deep() end "
    local _, err = lrun.eval(deep .. "require('timers').setTimeout(deep, 1)")
    assert.matches("^%(command line%):1: stack overflow\nstack traceback:\n\t%(command line%):1: in function 'deep' %(%d+ times%)\n"
      .. "\t%.%.%. %d+ more\n",
      err)
    local out
    out, err = lrun.eval(deep .. [[
      local http = require("http")
      local server = http.createServer(function(req) if req.url == "/deep" then deep() end req.socket:destroy() end):listen(0, "127.0.0.1")
      server:on("listening", function()
        http.get({ port = server:address().port, path = "/deep", agent = false }, function(res)
          print(res.statusCode)
          server:close()
        end)
      end)]])
    assert.equal("500\n", out)
    assert.matches("^%(command line%):1: stack overflow\nstack traceback:\n", err)
    out = lrun.run({ "-i" }, deep:gsub("^local ", "") .. "\ndeep()\n1 + 1\n")
    assert.matches("stack overflow\n.*> 2\n", out)
  end)

  it("ends well after a unix socket's server was closed and collected", function()
    local path = os.tmpname()
    uv.fs_unlink(path)
    local _, err, code = lrun.eval(([[
      local net = require("net")
      local server = net.createServer():listen(%q)
      server:close(function()
        server = nil
        require("timers").setTimeout(function() collectgarbage() collectgarbage() end, 1)
      end)
      net.createServer():listen(%q, function() require("timers").setTimeout(process.exit, 20) end)
    ]]):format(path, path .. "2"))
    assert.equal("", err)
    assert.equal(0, code)
    assert.is_nil(uv.fs_stat(path))
    assert.is_nil(uv.fs_stat(path .. "2"))
  end)

  it("tells luv's full version", function()
    assert.matches("^%d+%.%d+%.%d+$", process.versions.luv)
  end)
end)

describe("an error that nobody listens to", function()
  it("is reported with the script's line that began it", function()
    for code, text in pairs{
      ["require('child_process').spawn('no-such')"] = "spawn no%-such ENOENT",
      ["require('net').connect('/no/such')"] = "connect ENOENT /no/such",
      ["require('net').createServer():listen('/no/such')"] = "listen EACCES: permission denied /no/such",
      ["require('http').get{ socketPath = '/no/such' }"] = "connect ENOENT /no/such",
      ["require('dgram').createSocket('udp4'):bind(1, '192.0.2.1')"] = "bind EADDRNOTAVAIL 192%.0%.2%.1:1",
    } do
      local _, err, ended = lrun.run({ "-" }, "local function begin()\n  " .. code .. "\nend\nbegin()\nprint(1)\n")
      assert.matches("^stdin:2: " .. text:gsub("EACCES: permission denied", "E%%u+: [%%l ]+") .. "\n", err)
      assert.matches("\nstack traceback:\n\tstdin:2: in function ", err)
      assert.equal(1, ended)
    end
  end)
end)

describe("the specs", function()
  it("name the package that is missing when busted is not there", function()
    local child = child_process.spawn(process.execPath, { "spec/support/busted.lua", "spec/host/start_spec.lua" },
      { env = { LUA_PATH = "./?.lua", LUA_CPATH = "" } })
    assert.equal("the specs are run by busted: install the package lua-busted\n", children.text(child.stderr))
  end)
end)
