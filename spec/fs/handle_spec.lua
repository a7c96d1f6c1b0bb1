local await = require("await")
local fs = require("fs")
local files = require("spec.support.files")
local fails = files.fails

local dir, at

-- A method in each form.
local FORMS = {
  sync = function(handle, name, ...) return handle[name .. "Sync"](handle, ...) end,
  async = function(handle, name, ...)
    local err, value = await(handle[name], handle, ...)
    if err then error(err, 0) end
    return value
  end,
}

for form, call in pairs(FORMS) do
  local open = function(...) return files.forms[form]("openHandle", ...) end

  describe("a file handle, " .. form, function()
    before_each(function() dir, at = files.directory() end)
    after_each(function() fs.rmSync(dir, { recursive = true, force = true }) end)

    it("reads, writes and tells", function()
      local handle = open(at("file"), "w+", "600")
      assert.equal("number", type(handle.fd))
      assert.equal(tonumber("100600", 8), fs.statSync(at("file")).mode)
      assert.equal(5, call(handle, "write", "hello"))
      assert.equal(2, call(handle, "write", "HE", 0))
      assert.equal("HEl", call(handle, "read", 3, 0))
      assert.equal("", call(handle, "read", 3))
      call(handle, "writeFile", " world")
      call(handle, "appendFile", "!")
      assert.equal("HEllo world!", fs.readFileSync(at("file")))
      assert.equal("", call(handle, "readFile"))
      assert.equal(12, call(handle, "stat").size)
      call(handle, "truncate", 4)
      assert.equal(4, call(handle, "stat").size)
      call(handle, "sync")
      call(handle, "datasync")
      call(handle, "chmod", "640")
      call(handle, "chown", -1, -1)
      call(handle, "utimes", 1, 2)
      call(handle, "flock", "ex", { nonblock = true })
      local stats = fs.statSync(at("file"))
      assert.same({ tonumber("100640", 8), 2000 }, { stats.mode, stats.mtimeMs })
      local fd = handle.fd
      call(handle, "close")
      assert.equal(-1, handle.fd)
      assert.equal("EBADF", fails(fs.fstatSync, fd).code)
    end)

    it("fails after it was closed, and with what is wrong", function()
      local err = fails(open, at("none"))
      assert.equal(("ENOENT: no such file or directory, open '%s'"):format(at("none")), err.message)
      assert.equal("ERR_INVALID_ARG_VALUE", fails(open, at("file"), "rw").code)
      local handle = open(at("file"), "w+")
      assert.truthy(fails(call, handle, "read", "1").message:find('"length"', 1, true))
      assert.truthy(fails(call, handle, "write").message:find('"data"', 1, true))
      assert.truthy(fails(call, handle, "chown", "x", 1).message:find('"uid"', 1, true))
      assert.truthy(fails(call, handle, "flock", "shared").message:find("'kind'", 1, true))
      call(handle, "close")               -- nothing of that is under way
      for name, syscall in pairs{ read = "read", stat = "fstat", sync = "fsync", flock = "flock", close = "close" } do
        err = fails(call, handle, name, 1)
        if name ~= "close" or form == "sync" then assert.same({ "EBADF", syscall }, { err.code, err.syscall }) end
      end
      assert.truthy(fails(handle.stat, function() end).message:find("handle:stat(...) with a colon", 1, true))
    end)
  end)
end

describe("a file handle", function()
  before_each(function() dir, at = files.directory() end)
  after_each(function() fs.rmSync(dir, { recursive = true, force = true }) end)

  local function open(...) return fs.openHandleSync(at("file"), ...) end

  it("is an instance of fs.FileHandle", function()
    local handle = open("w")
    assert.equal(fs.FileHandle, getmetatable(handle))
    handle:closeSync()
  end)

  it("closes behind what is under way", function()
    fs.writeFileSync(at("file"), ("x"):rep(2e6))
    local handle = open("r+")
    local order = {}
    handle:readFile(function(err, data) order[#order + 1] = err or #data end)
    handle:sync(function(err) order[#order + 1] = err or "synced" end)
    assert.equal("ERR_INVALID_STATE", fails(handle.closeSync, handle).code)
    handle:read(1, 0, function(err) order[#order + 1] = err and "failed" or "read" end)
    await(function(done)
      handle:close(function(err)
        order[#order + 1] = err or "closed"
        done()
      end)
      handle:read(1, function(err) order[#order + 1] = err.code end)
    end)
    assert.equal("closed", order[#order])
    table.remove(order)
    table.sort(order, function(a, b) return tostring(a) < tostring(b) end)
    assert.same({ 2000000, "EBADF", "read", "synced" }, order)
    assert.equal(-1, handle.fd)
  end)

  it("calls back later, and a failing callback is the program's", function()
    local handle, returned = open("w"), false
    await(function(done)
      handle:stat(function()
        assert.is_true(returned)
        done()
      end)
      returned = true
    end)
    handle:closeSync()
  end)

  it("is closed when it is collected, not before", function()
    local fd, result
    fs.writeFileSync(at("file"), "text")
    do
      local handle = open()
      fd = handle.fd
      handle:readFile(function(_, data) result = data end)
    end
    collectgarbage()
    collectgarbage()
    files.eventually("the text", function() return result end)
    assert.equal("text", result)
    -- The last callback may still be on a coroutine's stack.
    files.eventually("the descriptor's end", function()
      collectgarbage()
      return not pcall(fs.fstatSync, fd)
    end)
  end)

  it("does not close another file of the same number", function()
    local handle = open("w")
    local fd = handle.fd
    handle:closeSync()
    assert.equal(fd, fs.openSync(at("file")))
    handle = nil       -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.truthy(fs.fstatSync(fd))
    fs.closeSync(fd)
  end)
end)
