local fs = require("fs")
local identity = require("lrun.manager.identity")
local state = require("lrun.manager.state")
local uv = require("luv")

describe("state files", function()
  local home

  before_each(function()
    home = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-state-XXXXXX"))
    fs.mkdirSync(home .. "/apps")
  end)
  after_each(function() fs.rmSync(home, { recursive = true, force = true }) end)

  local function record(id, name, value)
    return { id = id, wanted = "running", app = { name = name, script = "/x.lua", args = {}, instances = 1, env = { V = value or "1" } } }
  end
  local function write(path, text)
    local file = assert(io.open(home .. "/apps/" .. path, "wb"))
    file:write(text)
    file:close()
  end
  local function read(path)
    local file = io.open(home .. "/apps/" .. path, "rb")
    local text = file and file:read("*a")
    if file then file:close() end
    return text
  end

  it("give back what was written, whatever bytes it holds, and are for nobody else", function()
    assert.is_true(state.write(home, record(3, "a b", "\255\1\"\n")))
    local got = assert(state.read(home, "a b"))
    assert.equal(3, got.id)
    assert.equal("\255\1\"\n", got.app.env.V)
    assert.equal("600", ("%o"):format(fs.statSync(home .. "/apps/a b.json").mode % 512))
    assert.equal("600", ("%o"):format(fs.statSync(home .. "/apps/.a b.last").mode % 512))
  end)

  it("are read in order of ids", function()
    for i, name in ipairs{ "c", "a", "b" } do state.write(home, record(i, name)) end
    local names = {}
    for i, each in ipairs((state.readAll(home))) do names[i] = each.app.name end
    assert.equal("c a b", table.concat(names, " "))
  end)

  it("cut at any byte are set aside, and the copy is used", function()
    state.write(home, record(0, "app", "whole"))
    local text = read("app.json")
    for length = 0, #text - 1 do
      write("app.json", text:sub(1, length))
      local got, warning = state.read(home, "app", true)
      assert.equal("whole", got.app.env.V, "cut at " .. length)
      assert.truthy(warning:find("app.json", 1, true))
      assert.equal(text:sub(1, length), read(".app.broken"))
      assert.equal("whole", state.read(home, "app").app.env.V)
    end
  end)

  it("are whole when the write of the copy, or of the new one, was cut", function()
    state.write(home, record(0, "app", "old"))
    local text = read("app.json")
    for length = 0, #text - 1, 7 do
      write(".app.last", text:sub(1, length))
      write(".app.json.new", text:sub(1, length))
      local got, warning = state.read(home, "app", true)
      assert.equal("old", got.app.env.V)
      assert.is_nil(warning)
    end
    assert.equal(1, #(state.readAll(home, true)))
  end)

  it("of other content are not taken for an app", function()
    for _, garbage in ipairs{ "[]", "null", '"x"', "{}", '{"id":1}',
      '{"id":1,"app":{"name":"other","script":"x","args":[],"instances":1}}', ("\0"):rep(100) } do
      state.write(home, record(0, "app", "good"))
      write("app.json", garbage)
      assert.equal("good", state.read(home, "app", true).app.env.V, garbage)
    end
    write("lost.json", "garbage")
    local got, warning = state.read(home, "lost", true)
    assert.is_nil(got)
    assert.truthy(warning:find("lost", 1, true))
  end)

  it("stay as they are when only looked at", function()
    state.write(home, record(0, "app"))
    write("app.json", "garbage")
    local _, warning = state.read(home, "app", false)
    assert.truthy(warning)
    assert.equal("garbage", read("app.json"))
  end)

  it("tell when there is no room, and keep the old content", function()
    state.write(home, record(0, "app", "old"))
    local ok, code = state.replace("/dev/full/x", "text")
    assert.is_nil(ok)
    assert.truthy(code)
    fs.rmSync(home .. "/apps/.app.json.new", { force = true })
    fs.mkdirSync(home .. "/apps/.app.json.new")       -- where the new one would be written
    assert.is_nil(state.write(home, record(0, "app", "new")))
    assert.equal("old", state.read(home, "app").app.env.V)
  end)
end)

describe("a process's identity", function()
  it("is not that of another with its pid", function()
    local own = identity.of(process.pid)
    assert.is_true(identity.isAlive(own))
    assert.is_false(identity.isAlive{ pid = own.pid, start = own.start + 1, boot = own.boot })
    assert.is_false(identity.isAlive{ pid = own.pid, start = own.start, boot = "another" })
    assert.is_false(identity.isAlive(nil))
    assert.is_nil(identity.of(4194304 * 2))
  end)

  it("has figures, children and the environment of its start", function()
    assert.is_true(identity.usage(process.pid).memory > 100000)
    local child = require("child_process").spawn("sleep", { "30" }, { env = { PATH = process.env.PATH, MARK = "here it is" } })
    local listed = false
    for _, pid in ipairs(identity.children(process.pid)) do listed = listed or pid == child.pid end
    assert.is_true(listed)
    require("spec.support.children").eventually(function() return identity.variable(child.pid, "MARK") == "here it is" end)
    assert.is_nil(identity.variable(child.pid, "MAR"))
    child:kill("SIGKILL")
    require("spec.support.children").once(child, "close")
  end)
end)
