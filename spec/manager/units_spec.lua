local units = require("lrun.manager.units")

describe("durations", function()
  it("are ms, or texts with a unit", function()
    for text, ms in pairs{ ["500"] = 500, ["500ms"] = 500, ["1.5s"] = 1500, ["2m"] = 120000, ["1h"] = 3600000, ["1d"] = 86400000,
      [" 3 S "] = 3000 } do
      assert.equal(ms, units.duration(text), text)
    end
    assert.equal(250, units.duration(250))
    assert.equal(0, units.duration("0"))
  end)

  it("refuse what they cannot read, and name it", function()
    for _, wrong in ipairs{ "soon", "1 parsec", "", "-1s", "1.2.3s", "s" } do
      local value, problem = units.duration(wrong)
      assert.is_nil(value, wrong)
      assert.truthy(problem:find(wrong, 1, true))
    end
    for _, wrong in ipairs{ -1, 0 / 0, math.huge, "100d" } do assert.is_nil(units.duration(wrong)) end
    assert.is_nil(units.duration({}))
  end)

  it("are shown for people", function()
    assert.equal("59s", units.showDuration(59999))
    assert.equal("1m 0s", units.showDuration(60000))
    assert.equal("47h 59m", units.showDuration((48 * 3600 - 1) * 1000))
    assert.equal("3d 4h", units.showDuration((76 * 3600) * 1000))
    assert.equal("-", units.showDuration(nil))
  end)
end)

describe("sizes", function()
  it("are bytes, or texts with a unit", function()
    for text, bytes in pairs{ ["300M"] = 300 * 1024 ^ 2, ["64k"] = 65536, ["1.5G"] = 1.5 * 1024 ^ 3, ["10MB"] = 10 * 1024 ^ 2,
      ["1GiB"] = 1024 ^ 3, ["12b"] = 12 } do
      assert.equal(bytes, units.size(text), text)
    end
    assert.equal(70000, units.size(70000))
    assert.equal(1048576, units.size("1048576"))
  end)

  it("ask for a unit that was forgotten", function()
    local value, problem = units.size("300")
    assert.is_nil(value)
    assert.truthy(problem:find("300M", 1, true))
  end)

  it("refuse what they cannot read", function()
    for _, wrong in ipairs{ "big", "3X", "", "M", -1 } do assert.is_nil(units.size(wrong)) end
  end)

  it("are shown for people", function()
    assert.equal("512 B", units.showSize(512))
    assert.equal("1.5 KB", units.showSize(1536))
    assert.equal("3.0 GB", units.showSize(3 * 1024 ^ 3))
  end)
end)
