local lrun = require("spec.support.lrun")
local uv = require("luv")

describe("require", function()
  local folder

  before_each(function() folder = assert(uv.fs_realpath(uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-modules-XXXXXX"))) end)
  after_each(function() os.execute("rm -rf '" .. folder .. "'") end)

  local function write(name, text)
    local path = folder .. "/" .. name
    os.execute("mkdir -p '" .. path:match("^(.*)/") .. "'")
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return path
  end

  local function gives(expected, ...)
    local out, err = lrun.run{ ... }
    assert.equal(expected, out .. err)
  end

  local function main(text) return write("app/main.lua", text) end

  it("finds files relative to the one that asks, each once", function()
    write("app/lib/init.lua", "return { other = require('../other') }")
    write("app/other.lua", "return {}")
    gives("true\ttrue\n", main([[
      local lib = require("./lib")
      print(lib == require("./lib/init.lua"), lib.other == require("./other"))
    ]]))
  end)

  it("looks beside the main script before package.path, and prefers built-in modules", function()
    write("app/lib/tool.lua", "return 'tool'")
    write("app/events.lua", "error('not me')")
    gives("tool\ttrue\n", main([[print(require("lib.tool"), require("events").EventEmitter ~= nil)]]))
  end)

  it("loads a file once, by whatever name and from wherever", function()
    write("app/lib/u.lua", "count = (count or 0) + 1\nreturn { count, ... }")
    local path = main([[
      local a, b, c = require("./lib/u"), require("lib.u"), require("./lib/u.lua")
      print(a == b, b == c, #a)
      package.loaded["lib.u"] = nil
      print(require("lib.u")[1], require("lib.u")[2], require("./lib/u")[1])
    ]])
    for _, cwd in ipairs{ folder, folder .. "/app", "/" } do
      local pipe = io.popen(("cd '%s' && '%s' '%s'"):format(cwd, process.execPath, path))
      assert.equal("true\ttrue\t2\n2\tlib.u\t2\n", pipe:read("*a"))
      pipe:close()
    end
  end)

  it("gives Node's names to lrun and lrun's own to the program", function()
    for _, name in ipairs{ "events", "http", "process", "os" } do write("app/" .. name .. ".lua", "error('not me')") end
    for _, name in ipairs{ "json", "cjson", "await" } do write("app/" .. name .. ".lua", "return 'mine: ' .. ...") end
    write("app/inspect/init.lua", "return 'mine: ' .. ...")
    write("app/abort", "error('no module')")
    write("other/errors.lua", "error('not beside the script')")
    gives("true\tmine: json\tmine: cjson\tmine: await\tmine: inspect\n", main([[
      package.path = "../other/?.lua;" .. package.path
      local events, http = require("events"), require("http")
      print(events.EventEmitter and http.createServer and require("os").cpus and require("process") == process
        and require("abort").AbortController and require("errors").Error ~= nil,
        require("json"), require("cjson"), require("await"), require("inspect"))
    ]]))
  end)

  it("gives the built-in module to the prefix, and to a main script of its name", function()
    write("app/json.lua", "return 'mine'")
    gives("true\ttrue\ttrue\tmine\n", main([[
      print(require("lrun:json").decode("[1]")[1] == 1, require("lrun:json") == require("lrun:json"),
        require("lrun:http") == require("http"), (require("json")))
    ]]))
    gives("function\n", write("app/json.lua", "print(type(require('json').decode))"))
    local _, err = lrun.run{ main("require('lrun:nosuch')") }
    assert.truthy(err:find("main.lua:1: module 'lrun:nosuch' not found:\n\tlrun has abort, await, ", 1, true), err)
  end)

  it("lets a program replace what package holds, and hides that from the runtime", function()
    write("app/errors.lua", "return 'mine'")
    gives("mine\tmocked\tpreloaded\tThe \"code\" argument must be of type number. Received a table\n", main([[
      package.loaded.events, package.loaded.bit, package.loaded.ffi = "mocked", "broken", "broken"
      package.preload.json = function() return "preloaded" end
      package.preload["lrun.check.validate"] = error
      local errors, events, json = require("errors"), require("events"), require("json")
      require("http").createServer():listen("./x.sock"):close()
      print(errors, events, json, select(2, pcall(process.exit, {})))
    ]]))
  end)

  it("has a place in the page for each name", function()
    local page = io.open("docs/cli.md"):read("*a")
    local node, own = page:match("\n1%. modules that Node has, too(.-)\n2%. .-\n3%. lrun's other names(.-)\n4%. ")
    local modules = require("lrun.host.modules")
    for _, name in ipairs(modules.names()) do
      assert.truthy((modules.isNodes(name) and node or own):find("`" .. name .. "`", 1, true), name .. " is not in docs/cli.md")
    end
  end)

  it("takes no name but the modules'", function()
    for _, name in ipairs{ "http.server", "cluster.worker", "lrun.host.boot", "lrun.core.vm", "lrun" } do
      write("app/" .. name:gsub("%.", "/") .. ".lua", "return 'mine: ' .. ...")
    end
    gives("mine: http.server\tmine: cluster.worker\tmine: lrun.host.boot\tmine: lrun.core.vm\tmine: lrun\n", main([[
      require("http") require("cluster")
      print((require("http.server")), (require("cluster.worker")), (require("lrun.host.boot")), (require("lrun.core.vm")),
        (require("lrun")))
    ]]))
  end)

  it("runs Debian's lua-http beside our http", function()
    if not package.searchpath("http.request", package.path) then return pending("Debian's package lua-http is not there") end
    gives("200\thello\n", main([[
      local server = require("http.server").listen{ host = "127.0.0.1", port = 0, onstream = function(_, stream)
        stream:get_headers()
        local headers = require("http.headers").new()
        headers:append(":status", "200")
        stream:write_headers(headers, false)
        stream:write_chunk("hello", true)
      end }
      server:listen()
      assert(require("http").createServer and require("http.client").connect)
      local loop = require("cqueues").new()
      loop:wrap(function() server:loop() end)
      loop:wrap(function()
        local _, _, port = server:localname()
        local headers, stream = require("http.request").new_from_uri(("http://127.0.0.1:%d/"):format(port)):go(20)
        print(headers:get(":status"), stream:get_body_as_string())
        server:close()
      end)
      loop:loop()
    ]]))
  end)

  it("knows the file that asks through pcall and in its last line", function()
    write("app/lib/init.lua", "return require('./part')")
    write("app/lib/part.lua", "return 'part'")
    write("app/last.lua", "print(select(2, pcall(require, './lib')), (require('lib')))")
    gives("part\tpart\n", main([[return require("./last")]]))
  end)

  it("follows a link to the script", function()
    write("app/near.lua", "return 'near'")
    local path = main([[print(require("./near"), require("near"))]])
    assert(uv.fs_symlink(path, folder .. "/tool"))
    gives("near\tnear\n", folder .. "/tool")
  end)

  it("tries again what failed, and sees a ring", function()
    write("app/bad.lua", "attempts = (attempts or 0) + 1\nerror('attempt ' .. attempts, 0)")
    write("app/ring.lua", "return require('./ring')")
    write("app/named.lua", "return require('named')")
    gives("attempt 1\tattempt 2\tattempt 3\n", main([[
      local function try(name) return (select(2, pcall(require, name))) end
      print(try("./bad"), try("bad"), try("./bad"))
    ]]))
    for name, file in pairs{ ["./ring"] = folder .. "/app/ring.lua", named = "named" } do
      local _, err = lrun.run{ main("require('" .. name .. "')") }
      assert.truthy(err:find(".lua:1: loop loading module '" .. file .. "'\n", 1, true), err)
    end
  end)

  it("shows the stack through modules that fail, and names no file of the runtime", function()
    write("app/bad.lua", "local x\nreturn x.y")
    local path = main("local function f() return (require('bad')) end\nf()")
    local place = folder .. "/app/"
    gives(([[
%sbad.lua:2: attempt to index local 'x' (a nil value)
stack traceback:
	%sbad.lua:2: in main chunk
	(lrun: host/modules)
	%smain.lua:1: in function 'f'
	%smain.lua:2: in main chunk
]]):format(place, place, place, place), path)
    write("app/bad.lua", "local local")
    local _, err = lrun.run{ main("print(select(2, pcall(require, 'bad')))\nrequire('none')") }
    assert.truthy(err:find("^" .. place:gsub("%p", "%%%0") .. "main.lua:2: module 'none' not found:\n"), err)
    _, err = lrun.run{ "-l", "none", path }
    assert.truthy(err:find("^lrun: module 'none' not found:\n"), err)
    for _, name in ipairs{ "nil", "{}" } do
      _, err = lrun.run{ "-e", "require(" .. name .. ")" }
      assert.truthy(err:find("^%(command line%):1: bad argument #1 to 'require' %(string expected, got %a+%)\n"), err)
    end
  end)
end)
