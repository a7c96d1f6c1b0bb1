local EventEmitter = require("events").EventEmitter
local errors = require("errors")
local lrun = require("spec.support.lrun")

describe("EventEmitter", function()
  it("gives subclasses the getters of the classes above, also those that come later, but not in the place of their own", function()
    local Base = EventEmitter:extend("Base")
    Base:getter("early", function() return "early" end)
    local Middle = Base:extend("Middle")
    local Leaf = Middle:extend("Leaf")
    Leaf:getter("own", function() return "leaf" end)
    Base:getter("late", function(self) return "late " .. self.x end)
    Base:getter("own", function() return "base" end)
    local leaf = Leaf:new()
    leaf.x = 1
    assert.same({ "early", "late 1", "leaf", "base" }, { leaf.early, leaf.late, leaf.own, Middle:new().own })
    assert.is_nil(EventEmitter:new().early)
    local Response = require("http").ServerResponse:extend("Response")
    assert.is_function(rawget(require("http").ServerResponse, "__allGetters").headersSent)
    assert.is_function(rawget(Response, "__allGetters").headersSent)
  end)

  it("calls a listener of once no more than once, also where it emits the event itself", function()
    local emitter, seen = EventEmitter:new(), {}
    emitter:once("x", function()
      seen[#seen + 1] = "a"
      emitter:emit("x")
    end)
    emitter:once("x", function() seen[#seen + 1] = "b" end)
    emitter:on("x", function() seen[#seen + 1] = "c" end)
    emitter:emit("x")
    assert.same({ "a", "b", "c", "c" }, seen)
    assert.equal(1, emitter:listenerCount("x"))
  end)

  it("takes away, shows and tells of listeners of once by what was given", function()
    local emitter, told = EventEmitter:new(), {}
    local function f() end
    emitter:on("newListener", function(name, listener) told[#told + 1] = { "new", name, listener } end)
    emitter:on("removeListener", function(name, listener) told[#told + 1] = { "gone", name, listener } end)
    emitter:once("x", f)
    assert.same({ f }, emitter:listeners("x"))
    emitter:prependOnceListener("x", print)
    assert.same({ print, f }, emitter:listeners("x"))
    emitter:off("x", f)
    emitter:emit("x")
    assert.same({}, emitter:listeners("x"))
    assert.same({ { "new", "removeListener", told[1][3] }, { "new", "x", f }, { "new", "x", print }, { "gone", "x", f },
      { "gone", "x", print } }, told)
  end)

  it("calls listeners in order with the arguments and tells whether there were any", function()
    local emitter, seen = EventEmitter:new(), {}
    assert.equal(emitter, emitter:on("x", function(...) seen[#seen + 1] = { "second", ... } end))
    emitter:prependListener("x", function(...) seen[#seen + 1] = { "first", ... } end)
    assert.is_true(emitter:emit("x", 1, nil, 3))
    assert.same({ { "first", 1, nil, 3 }, { "second", 1, nil, 3 } }, seen)
    assert.is_false(emitter:emit("y"))
  end)

  it("runs a once listener once, and off finds it by the function that was given", function()
    local emitter, count = EventEmitter:new(), 0
    local function f() count = count + 1 end
    emitter:once("x", f)
    assert.same({ f }, emitter:listeners("x"))
    emitter:emit("x")
    emitter:emit("x")
    assert.equal(1, count)
    emitter:once("x", f):off("x", f):emit("x")
    assert.equal(1, count)
    assert.equal(0, emitter:listenerCount("x"))
  end)

  it("does not let a change during an emit touch that emit", function()
    local emitter, seen = EventEmitter:new(), {}
    local function late() seen[#seen + 1] = "late" end
    local function b() seen[#seen + 1] = "b" end
    emitter:on("x", function()
      seen[#seen + 1] = "a"
      emitter:off("x", b)
      emitter:on("x", late)
    end)
    emitter:on("x", b)
    emitter:emit("x")
    assert.same({ "a", "b" }, seen)
    emitter:emit("x")
    assert.same({ "a", "b", "a", "late" }, seen)
  end)

  it("throws an error event that nobody listens to", function()
    local emitter, err = EventEmitter:new(), errors.Error:new("gone")
    local ok, thrown = pcall(emitter.emit, emitter, "error", err)
    assert.is_false(ok)
    assert.equal(err, thrown)
    ok, thrown = pcall(emitter.emit, emitter, "error", { odd = true })
    assert.is_false(ok)
    assert.equal("ERR_UNHANDLED_ERROR", thrown.code)
    assert.equal("Unhandled error. ({ odd = true })", thrown.message)
  end)

  it("announces listeners before they are added and after they are removed", function()
    local emitter, seen = EventEmitter:new(), {}
    local function f() end
    emitter:on("newListener", function(name, listener) seen[#seen + 1] = { "new", name, listener, emitter:listenerCount("x") } end)
    emitter:on("removeListener", function(name, listener) seen[#seen + 1] = { "removed", name, listener } end)
    emitter:once("x", f)
    emitter:emit("x")
    assert.same({ "new", "removeListener" }, { seen[1][1], seen[1][2] })
    assert.same({ "new", "x", f, 0 }, seen[2])
    assert.same({ "removed", "x", f }, seen[3])
  end)

  it("says which to type when a dot stands where a colon belongs", function()
    local emitter = EventEmitter:new()
    local ok, err = pcall(emitter.on, "x", function() end)
    assert.is_false(ok)
    assert.equal("call emitter:on(...) with a colon", err.message)
  end)

  it("refuses a listener that is no function", function()
    local ok, err = pcall(function() EventEmitter:new():on("x", 5) end)
    assert.is_false(ok)
    assert.equal('The "listener" argument must be of type function. Received type number (5)', err.message)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
  end)

  it("warns once of an event with too many listeners", function()
    local out, err = lrun.eval([[
      local e = require("events").EventEmitter:new():setMaxListeners(1)
      process:on("warning", function(w) print(w.name, w.type, w.count, w.emitter == e) end)
      for _ = 1, 4 do e:on("x", print) end]])
    assert.equal("MaxListenersExceededWarning\tx\t2\ttrue\n", out)
    assert.truthy(err:find("^%(lrun:%d+%) MaxListenersExceededWarning: Possible EventEmitter memory leak detected%. 2 x listeners"), err)
  end)

  it("removes all listeners, the newest first", function()
    local emitter, removed = EventEmitter:new(), {}
    local function a() end
    local function b() end
    emitter:on("removeListener", function(_, listener) removed[#removed + 1] = listener end)
    emitter:on("x", a):on("x", b):removeAllListeners("x")
    assert.same({ b, a }, removed)
  end)

  it("makes classes with inherited methods and computed fields", function()
    local Shape = EventEmitter:extend("Shape")
    function Shape:initialize(side) self.side = side end
    Shape:getter("area", function(self) return self.side * self.side end)
    local Cube = Shape:extend("Cube")
    Cube:getter("volume", function(self) return self.area * self.side end)
    local cube = Cube:new(3)
    assert.equal(9, cube.area)
    assert.equal(27, cube.volume)
    assert.is_nil(cube.nothing)
    assert.equal("Cube", getmetatable(cube).name)
    assert.is_true(cube:on("x", function() end):emit("x"))
  end)
end)
