local cron = require("lrun.manager.cron")

local function at(text)
  local year, month, day, hour, minute, second = text:match("^(%d+)-(%d+)-(%d+) (%d+):(%d+):(%d+)$")
  return os.time{ year = year, month = month, day = day, hour = hour, min = minute, sec = second }
end

local function next(pattern, from)
  return os.date("%Y-%m-%d %H:%M:%S", cron.next(assert(cron.parse(pattern)), at(from)))
end

describe("patterns of time", function()
  it("have five fields", function()
    assert.equal("2026-03-01 03:00:00", next("0 3 * * *", "2026-02-28 03:00:00"))
    assert.equal("2026-02-28 10:15:00", next("*/15 * * * *", "2026-02-28 10:00:00"))
    assert.equal("2026-12-25 00:00:00", next("0 0 25 dec *", "2026-01-01 00:00:00"))
    assert.equal("2026-03-02 09:30:00", next("30 9 * * mon-fri", "2026-02-28 00:00:00"))
    assert.equal("2026-03-01 00:00:00", next("0 0 * * 7", "2026-02-28 00:00:00"))
  end)

  it("or six, with seconds first", function()
    assert.equal("2026-02-28 10:00:02", next("*/2 * * * * *", "2026-02-28 10:00:00"))
    assert.equal("2026-02-28 10:00:40", next("5,40 * * * * *", "2026-02-28 10:00:05"))
    assert.equal("2026-02-28 10:01:10", next("10-50/20 * * * * *", "2026-02-28 10:00:50"))
  end)

  it("take day or weekday where both are given", function()
    assert.equal("2026-03-01 00:00:00", next("0 0 1 * mon", "2026-02-28 00:00:00"))
    assert.equal("2026-03-02 00:00:00", next("0 0 1 * mon", "2026-03-01 00:00:00"))
  end)

  it("know leap years and short names", function()
    assert.equal("2028-02-29 00:00:00", next("0 0 29 2 *", "2026-03-01 00:00:00"))
    assert.equal("2026-03-01 00:00:00", next("@daily", "2026-02-28 12:00:00"))
    assert.equal("2026-02-28 13:00:00", next("@hourly", "2026-02-28 12:00:01"))
  end)

  it("are refused by their name", function()
    for _, wrong in ipairs{ "every day", "* * * *", "61 * * * *", "* * * * * * *", "*/0 * * * *", "5-1 * * * *", "a * * * *", "1, * * * *",
      "1/ * * * *",
      "", "* * 0 * *", "* 24 * * *", "* * * 13 *", "* * * * 8" } do
      local pattern, problem = cron.parse(wrong)
      assert.is_nil(pattern, wrong)
      assert.truthy(problem:find(wrong, 1, true), problem)
    end
    assert.is_nil(cron.parse(nil))
  end)

  it("are refused when they never come", function()
    local pattern, problem = cron.parse("0 0 30 2 *")
    assert.is_nil(pattern)
    assert.truthy(problem:find("never", 1, true))
  end)
end)
