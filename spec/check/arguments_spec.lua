-- Whatever a function is called with, it either works or throws an error object that is worded for its user; it never
-- fails somewhere inside.
local abort = require("abort")
local dgram = require("dgram")
local errors = require("errors")
local events = require("events")
local http = require("http")
local json = require("json")
local net = require("net")
local path = require("path")
local stream = require("stream")
local timers = require("timers")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

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

local function tryMethods(class, make, except)
  local seen = {}
  while class do
    for name, method in pairs(class) do
      if type(method) == "function" and not name:find("^_") and not SKIP[name] and not seen[name] and not (except and except[name]) then
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

  it("never break http's functions, nor a method of an agent, a request or a server", function()
    for name, f in pairs(http) do
      if type(f) == "function" then tryAll("http." .. name, f) end
    end
    for _, class in ipairs{ http.Server, http.Agent, http.ClientRequest } do
      tryAll(class.name .. ":new", function(a, b) return class:new(a, b) end)
    end
    tryMethods(http.Agent, function() return http.Agent:new() end)
    tryMethods(http.ClientRequest, function() return quiet(http.request { host = "127.0.0.1", port = 1 }):setMaxListeners(0) end)
    tryMethods(http.Server, function() return quiet(http.createServer()) end, { listen = true })
  end)

  it("never break a method of a request or a response that is served", function()
    local failure
    local port, server = servers.serve(function(req, res)
      local ends = { destroy = true, body = true, pipe = true, finish = true, write = true, writeHead = true, flushHeaders = true }
      local function try(object, name)
        object:on("error", function() end)        -- anew: removeAllListeners is among the methods, wherever it comes
        local _, err = pcall(tryAll, name, function(a, b) object[name](object, a, b) end)
        failure = failure or err
      end
      for _, object in ipairs { req, res } do
        object:setMaxListeners(0)
        local class = getmetatable(object)
        while class do
          for name, method in pairs(class) do
            if type(method) == "function" and not name:find("^_") and not SKIP[name] and not ends[name] then try(object, name) end
          end
          class = rawget(class, "super")
        end
      end
      for _, name in ipairs { "writeHead", "write", "finish" } do try(res, name) end
      res:destroy()
    end)
    server:on("clientError", function() end)
    rawhttp.exchange(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    servers.close()
    assert.is_nil(failure)
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
