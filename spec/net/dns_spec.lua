local await = require("await")
local dns = require("dns")

describe("dns", function()
  it("answers addresses with themselves, after the call", function()
    local called = false
    local err, address, family = await(function(callback)
      dns.lookup("::1", function(...)
        assert.is_true(called)
        callback(...)
      end)
      called = true
    end)
    assert.is_nil(err)
    assert.same({ "::1", 6 }, { address, family })
    err, address = await(dns.lookup, "127.0.0.1", { all = true })
    assert.is_nil(err)
    assert.same({ { address = "127.0.0.1", family = 4 } }, address)
  end)

  it("knows the names of this machine", function()
    local err, address, family = await(dns.lookup, "localhost", 4)
    assert.is_nil(err)
    assert.same({ "127.0.0.1", 4 }, { address, family })
    local _, list = await(dns.lookup, "localhost", { all = true, order = "ipv6first" })
    for i = 2, #list do assert(list[i - 1].family >= list[i].family) end
    _, list = await(dns.lookup, "localhost", { all = true, order = "ipv4first" })
    assert.equal(4, list[1].family)
    assert.same({ nil, { "127.0.0.1" } }, { await(dns.resolve4, "localhost") })
    assert.same({ nil, { "127.0.0.1" } }, { await(dns.resolve, "localhost", "A") })
    local failure, names = await(dns.reverse, "127.0.0.1")
    assert.is_nil(failure)
    assert.equal("string", type(names[1]))
  end)

  it("does not find what is no name, and says it as Node", function()
    for _, name in ipairs{ "bad name", "a..b", ".", ("x"):rep(64), ("x."):rep(130), "a\0b", "" } do
      local err = await(dns.lookup, name)
      assert.equal("getaddrinfo ENOTFOUND " .. name, err.message)
      assert.same({ "ENOTFOUND", "getaddrinfo", name }, { err.code, err.syscall, err.hostname })
    end
    local err = await(dns.resolve6, "no name")
    assert.same({ "queryAaaa ENOTFOUND no name", "queryAaaa" }, { err.message, err.syscall })
  end)

  it("names the argument that is wrong", function()
    for call, code in pairs{
      [function() dns.lookup(5, print) end] = "ERR_INVALID_ARG_TYPE",
      [function() dns.lookup("x") end] = "ERR_INVALID_ARG_TYPE",
      [function() dns.lookup("x", { family = 5 }, print) end] = "ERR_INVALID_ARG_VALUE",
      [function() dns.lookup("x", { order = "x" }, print) end] = "ERR_INVALID_ARG_VALUE",
      [function() dns.resolve("x", "MX", print) end] = "ERR_INVALID_ARG_VALUE",
      [function() dns.reverse("x", print) end] = "EINVAL",
      [function() dns.reverse("127.0.0.1") end] = "ERR_INVALID_ARG_TYPE",
      [function() dns:lookup("x", print) end] = "ERR_INVALID_ARG_TYPE",
    } do
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.equal(code, err.code)
    end
  end)
end)
