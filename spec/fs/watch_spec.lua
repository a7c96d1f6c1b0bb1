--- Recursive watches; what one watch does is in fs_spec.
local fs = require("fs")
local files = require("spec.support.files")
local fails = files.fails

local dir, at, watcher, seen, got

-- Starts to watch; `got("rename", "a/b")` waits for that event.
local function watch(options)
  seen = {}
  watcher = fs.watch(dir, options or { recursive = true }, function(kind, name) seen[kind .. " " .. tostring(name)] = true end)
  function got(kind, name)
    files.eventually(kind .. " " .. name, function() return seen[kind .. " " .. name] end)
  end
end

describe("fs.watch with recursive", function()
  before_each(function()
    dir, at = files.directory()
    fs.mkdirSync(at("a/b"), { recursive = true })
  end)
  after_each(function()
    if watcher then watcher:close() end
    watcher = nil
    fs.rmSync(dir, { recursive = true, force = true })
  end)

  it("sees what is in directories below", function()
    watch()
    fs.writeFileSync(at("a/b/file"), "x")
    got("rename", "a/b/file")
    got("change", "a/b/file")
    fs.writeFileSync(at("top"), "")
    got("rename", "top")
    fs.unlinkSync(at("a/b/file"))
    seen = {}
    fs.appendFileSync(at("a/late"), "y")
    got("change", "a/late")
  end)

  it("sees what comes in new directories, also what came before their watch", function()
    watch()
    fs.mkdirSync(at("new/deep/deeper"), { recursive = true })
    fs.writeFileSync(at("new/deep/deeper/early"), "")
    got("rename", "new")
    got("rename", "new/deep")
    got("rename", "new/deep/deeper")
    got("rename", "new/deep/deeper/early")
    seen = {}
    fs.writeFileSync(at("new/deep/deeper/later"), "z")
    got("change", "new/deep/deeper/later")
  end)

  it("follows a directory that moves, and one that comes in the place of another", function()
    watch()
    fs.renameSync(at("a"), at("c"))
    got("rename", "a")
    got("rename", "c")
    got("rename", "c/b")
    seen = {}
    fs.writeFileSync(at("c/b/file"), "")
    got("rename", "c/b/file")
    assert.is_nil(seen["rename a/b/file"])
    fs.rmSync(at("c"), { recursive = true })
    fs.mkdirSync(at("c/b"), { recursive = true })
    fs.writeFileSync(at("c/b/again"), "")
    got("rename", "c/b/again")
    seen = {}
    fs.writeFileSync(at("c/b/more"), "1")
    got("change", "c/b/more")
  end)

  it("no longer tells of a directory that was moved away, and keeps no watch of it", function()
    local other, outside = files.directory()
    watch()
    fs.renameSync(at("a"), outside("a"))
    got("rename", "a")
    fs.writeFileSync(outside("a/b/file"), "")
    fs.writeFileSync(at("last"), "")
    got("rename", "last")
    for event in pairs(seen) do assert.is_nil(event:find("file")) end
    fs.rmSync(other, { recursive = true })
  end)

  it("does not follow links", function()
    local other, outside = files.directory()
    fs.symlinkSync(other, at("link"))
    watch()
    fs.writeFileSync(outside("file"), "")
    fs.writeFileSync(at("last"), "")
    got("rename", "last")
    for event in pairs(seen) do assert.is_nil(event:find("file")) end
    fs.rmSync(other, { recursive = true })
  end)

  it("ends at close, also from a listener, and leaves nothing", function()
    watcher = fs.watch(dir, { recursive = true })
    local count = 0
    watcher:on("change", function()
      count = count + 1
      watcher:close()
    end)
    fs.mkdirSync(at("x/y"), { recursive = true })
    fs.mkdirSync(at("z"))
    files.eventually("an event", function() return count > 0 end)
    fs.writeFileSync(at("z/file"), "")
    watch()
    fs.writeFileSync(at("last"), "")
    got("rename", "last")
    assert.equal(1, count)
  end)

  it("keeps no process that did not ask for it", function()
    local code = files.run([[
      local fs = require("fs")
      fs.watch(process.argv[1], { recursive = true, persistent = false })
      fs.watch(process.argv[1], { recursive = true }):unref()
    ]], dir)
    assert.equal(0, code)
  end)

  it("watches a file as without it, and fails for nothing", function()
    fs.writeFileSync(at("file"), "")
    seen = {}
    watcher = fs.watch(at("file"), { recursive = true }, function(kind, name) seen[kind .. name] = true end)
    fs.appendFileSync(at("file"), "x")
    files.eventually("a change", function() return seen.changefile end)
    local err = fails(fs.watch, at("none"), { recursive = true })
    assert.same({ "ENOENT", "watch", at("none") }, { err.code, err.syscall, err.path })
    assert.truthy(fails(fs.watch, dir, { recursive = 1 }).message:find("options.recursive", 1, true))
  end)

  it("says that the system allows no more watches", function()
    for i = 1, 3 do fs.mkdirSync(at("more" .. i)) end
    -- A user namespace of its own has a limit of its own.
    local code, out = files.run([[
      local result = require("child_process").spawnSync("unshare", { "-Ur", "sh", "-c",
        'echo 3 > /proc/sys/user/max_inotify_watches && exec "$0" -e "$1" "$2"', process.execPath, process.argv[1],
        process.argv[2] }, { timeout = 20000 })
      print(result.status == 0 and result.stdout or "unable")
    ]], [[
      local _, err = pcall(require("fs").watch, process.argv[1], { recursive = true })
      print(err.code, err.message)
      process.exit(0)
    ]], dir)
    assert.equal(0, code)
    if out:find("unable") then return pending("no user namespaces here") end
    assert.truthy(out:find("^ENOSPC\tENOSPC: System limit for number of file watchers reached, watch '"), out)
  end)
end)
