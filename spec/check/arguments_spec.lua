-- Whatever a function is called with, it either works or throws an error object that is worded for its user; it never
-- fails somewhere inside.
local abort = require("abort")
local dgram = require("dgram")
local errors = require("errors")
local events = require("events")
local json = require("json")
local net = require("net")
local path = require("path")
local stream = require("stream")
local timers = require("timers")

local NIL = {}
local VALUES = {
  NIL, true, 5, -1, 0 / 0, 1e300, "x", "\0", {}, { {} }, { port = 0, host = {} }, { fd = -1 }, function() end, io.stdout,
}
local SKIP = { new = true, extend = true, getter = true, initialize = true, emit = true }

local function finish(object)
  if type(object) ~= "table" then return end
  if type(object.on) == "function" then object:on("error", function() end) end
  if type(object.destroy) == "function" then pcall(object.destroy, object)
  elseif type(object.close) == "function" then pcall(object.close, object) end
end

-- Calls `f` with all pairs of values, on a new object each time if `make` is given.
local function tryAll(label, f, make)
  for _, first in ipairs(VALUES) do
    for _, second in ipairs(VALUES) do
      local a, b = first, second
      if a == NIL then a = nil end
      if b == NIL then b = nil end
      local object = make and make()
      local ok, result
      if object then ok, result = pcall(f, object, a, b) else ok, result = pcall(f, a, b) end
      if object then finish(object) elseif ok then finish(result) end
      if not ok and not errors.isError(result) then
        error(("%s(%s, %s): %s"):format(label, tostring(a), tostring(b), tostring(result)), 0)
      end
    end
  end
end

local function tryMethods(class, make)
  local seen = {}
  while class do
    for name, method in pairs(class) do
      if type(method) == "function" and not name:find("^_") and not SKIP[name] and not seen[name] then
        seen[name] = true
        tryAll(tostring(class.name) .. ":" .. name, method, make)
      end
    end
    class = rawget(class, "super")
  end
end

local function quiet(object)
  object:on("error", function() end)
  return object
end

describe("wrong arguments", function()
  it("never break the functions of the modules that act on nothing but what they are given", function()
    for label, module in pairs{ net = net, stream = stream, dgram = dgram, path = path, json = json, timers = timers } do
      for name, f in pairs(module) do
        if type(f) == "function" then tryAll(label .. "." .. name, f) end
      end
    end
  end)

  it("never break a constructor, called with a colon or a dot", function()
    for _, class in ipairs{ net.Socket, net.Server, net.BlockList, dgram.Socket, stream.Readable, stream.Writable, stream.Duplex } do
      tryAll(class.name .. ":new", function(a, b) return class:new(a, b) end)
      tryAll(class.name .. ".new", class.new)
    end
  end)

  it("name the method that was called with a dot", function()
    local objects = {
      net.createServer(), net.Socket:new(), net.BlockList:new(), dgram.createSocket("udp4"), stream.Duplex:new(),
      stream.Transform:new(), events.EventEmitter:new(), abort.AbortController:new(), process.stdout,
      timers.setTimeout(function() end), timers.setImmediate(function() end),
    }
    for _, object in ipairs(objects) do
      local class = getmetatable(object)
      while class do
        for name, method in pairs(class) do
          if type(method) == "function" and not name:find("^_") and not SKIP[name] and name ~= "from" then
            local _, err = pcall(method, "x")
            assert.matches(":" .. name .. "%(...%) with a colon", tostring(err))
          end
        end
        class = rawget(class, "super")
      end
    end
    assert.equal("call Readable.from(...) with a dot", tostring(select(2, pcall(stream.Readable.from, stream.Readable, {}))))
  end)

  it("never break a method of a socket, a server, a block list or a UDP socket", function()
    tryMethods(net.Socket, function() return quiet(net.Socket:new()) end)
    tryMethods(net.Server, function() return quiet(net.Server:new()) end)
    tryMethods(net.BlockList, function() return net.BlockList:new() end)
    tryMethods(dgram.Socket, function() return quiet(dgram.createSocket("udp4")) end)
  end)

  it("never break a method of an emitter, a signal or a timer", function()
    tryMethods(events.EventEmitter, function() return quiet(events.EventEmitter:new()) end)
    tryMethods(abort.AbortController, function() return quiet(abort.AbortController:new()) end)
    for _, start in ipairs{ timers.setTimeout, timers.setImmediate } do
      tryMethods(getmetatable(start(function() end)), function() return start(function() end) end)
    end
  end)

  it("never break a method of a stream", function()
    local options = {
      read = function() end, write = function(_, _, callback) callback() end,
      transform = function(_, chunk, callback) callback(nil, chunk) end,
    }
    for _, name in ipairs{ "Readable", "Writable", "Duplex", "Transform" } do
      tryMethods(stream[name], function() return quiet(stream[name]:new(options)) end)
    end
  end)
end)
