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

  it("looks beside the main script after package.path, and prefers built-in modules", function()
    write("app/lib/tool.lua", "return 'tool'")
    write("app/events.lua", "error('not me')")
    gives("tool\ttrue\n", main([[print(require("lib.tool"), require("events").EventEmitter ~= nil)]]))
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
