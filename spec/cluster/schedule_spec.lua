local schedule = require("lrun.cluster.schedule")

-- Candidates are their own load: { untaken, open, busy, waited }, or false for one that is gone.
local function loadOf(candidate)
  if candidate.gone then return nil end
  return candidate[1], candidate[2], candidate[3], candidate[4] or 0
end

local function idle(count)
  local list = {}
  for i = 1, count do list[i] = { 0, 0, 0, slot = i, given = 0 } end
  return list
end

describe("round robin", function()
  it("gives everybody a turn", function()
    local list, chosen, turn = idle(3), {}, 1
    for i = 1, 7 do
      chosen[i] = schedule.roundRobin(list, turn, loadOf)
      turn = chosen[i] % #list + 1
    end
    assert.same({ 1, 2, 3, 1, 2, 3, 1 }, chosen)
  end)

  it("passes over one that is stuck with a connection, unless all are", function()
    local list = idle(3)
    list[2] = { 1, 1, 500 }
    assert.equal(3, schedule.roundRobin(list, 2, loadOf))
    list[1], list[3] = { 1, 1, 500 }, { 2, 2, 900 }
    assert.equal(2, schedule.roundRobin(list, 2, loadOf))
  end)

  it("passes over one that takes none of what is on its way, as one that is stopped does", function()
    local list = idle(3)
    list[2] = { 1, 1, 0, 500 }
    assert.equal(3, schedule.roundRobin(list, 2, loadOf))
    list[1], list[3] = { 1, 1, 0, 500 }, { 2, 2, 0, 900 }
    assert.equal(2, schedule.roundRobin(list, 2, loadOf))
  end)

  it("is patient with one that is merely busy, or has taken all it was given", function()
    local list = idle(2)
    list[1] = { 5, 5, 20 }
    assert.equal(1, schedule.roundRobin(list, 1, loadOf))
    list[1] = { 0, 5, 2000 }
    assert.equal(1, schedule.roundRobin(list, 1, loadOf))
  end)

  it("passes over one that is gone", function()
    local list = idle(2)
    list[1].gone = true
    assert.equal(2, schedule.roundRobin(list, 1, loadOf))
    list[2].gone = true
    assert.is_nil(schedule.roundRobin(list, 1, loadOf))
    assert.is_nil(schedule.roundRobin({}, 1, loadOf))
  end)
end)

describe("least connections", function()
  it("takes the one with the fewest, and of several the one given the fewest, or the next in turn", function()
    local list = { { 0, 3, 0, given = 9 }, { 0, 1, 0, given = 9 }, { 1, 1, 0, given = 9 }, { 0, 2, 0, given = 0 } }
    assert.equal(2, schedule.leastConnections(list, 1, loadOf))
    assert.equal(3, schedule.leastConnections(list, 3, loadOf))
    list[2].given = 8
    assert.equal(2, schedule.leastConnections(list, 3, loadOf))
  end)

  it("passes over one that takes none of what is on its way, unless others are as late", function()
    local list = { { 1, 1, 0, 500, given = 0 }, { 0, 9, 0, 0, given = 0 } }
    assert.equal(2, schedule.leastConnections(list, 1, loadOf))
    list[2] = { 9, 9, 0, 450, given = 0 }
    assert.equal(1, schedule.leastConnections(list, 1, loadOf))
  end)

  it("spreads evenly what stays open", function()
    local list, turn = idle(8), 1
    for _ = 1, 8000 do
      local index = schedule.leastConnections(list, turn, loadOf)
      list[index][2] = list[index][2] + 1
      turn = index % #list + 1
    end
    for _, each in ipairs(list) do assert.equal(1000, each[2]) end
  end)

  it("turns to a blocked one last", function()
    local list = { { 0, 1, 600, given = 0 }, { 0, 40, 0, given = 0 }, { 0, 50, 0, given = 0 } }
    assert.equal(2, schedule.leastConnections(list, 1, loadOf))
    list[2][3], list[3][3] = 600, 600
    assert.equal(1, schedule.leastConnections(list, 1, loadOf))
  end)

  it("spreads evenly where workers wait for a processor: what waits for them is not their work", function()
    local list = { { 0, 2, 0, given = 130 }, { 30, 32, 0, 10, given = 100 }, { 20, 24, 0, 8, given = 100 } }
    assert.equal(3, schedule.leastConnections(list, 1, loadOf))
    list[2][4], list[3][4] = 0, 0             -- they were just sent
    assert.equal(1, schedule.leastConnections(list, 1, loadOf))
  end)

  it("is patient when others are late, too: it is the machine that is slow", function()
    local list = { { 0, 1, 60, given = 0 }, { 0, 2, 30, given = 0 }, { 0, 3, 0, given = 0 } }
    assert.equal(1, schedule.leastConnections(list, 1, loadOf))
    list[1][3] = 100
    assert.equal(2, schedule.leastConnections(list, 1, loadOf))
    list[1][3], list[2][3] = 300, 290
    assert.equal(3, schedule.leastConnections(list, 1, loadOf))
  end)
end)

describe("sticky", function()
  local function clients()
    local list = {}
    for i = 0, 999 do list[i + 1] = ("10.0.%d.%d"):format(math.floor(i / 250), i % 250) end
    return list
  end

  it("keeps a client with its slot, and spreads clients", function()
    local list, count = idle(4), { 0, 0, 0, 0 }
    for _, client in ipairs(clients()) do
      local slot = schedule.sticky(list, client, loadOf)
      assert.equal(slot, schedule.sticky(list, client, loadOf))
      count[slot] = count[slot] + 1
    end
    for _, each in ipairs(count) do assert.is_true(each > 180 and each < 320, "uneven: " .. table.concat(count, " ")) end
  end)

  it("moves only the clients of the one that goes, and back when its slot is taken again", function()
    local all, before = idle(4), {}
    for _, client in ipairs(clients()) do before[client] = schedule.sticky(all, client, loadOf) end
    local left = { all[1], all[2], all[4] }
    for _, client in ipairs(clients()) do
      local slot = left[schedule.sticky(left, client, loadOf)].slot
      if before[client] ~= 3 then assert.equal(before[client], slot) end
    end
    local again = { all[1], all[2], all[4], { 0, 0, 0, slot = 3 } }
    for _, client in ipairs(clients()) do
      assert.equal(before[client], again[schedule.sticky(again, client, loadOf)].slot)
    end
  end)
end)

describe("a sticky worker that is stopped", function()
  it("loses its clients to others as long as that lasts", function()
    local list, moved = idle(4), 0
    local before = schedule.sticky(list, "10.0.0.1", loadOf)
    list[before][4] = 2000
    assert.are_not.equal(before, schedule.sticky(list, "10.0.0.1", loadOf))
    list[before][4] = 0
    assert.equal(before, schedule.sticky(list, "10.0.0.1", loadOf))
    for i = 1, 4 do list[i][4] = 2000 end
    if schedule.sticky(list, "10.0.0.1", loadOf) then moved = moved + 1 end
    assert.equal(1, moved)
  end)
end)

describe("a policy of the program's", function()
  local workers = { { id = 1 }, { id = 2 } }

  it("names a worker by the workers and what is known of the connection", function()
    local info = { remoteAddress = "10.0.0.1" }
    local index, problem = schedule.custom(function(given, known)
      assert.equal(workers, given)
      assert.equal(info, known)
      return given[2]
    end, workers, info)
    assert.equal(2, index)
    assert.is_nil(problem)
  end)

  it("says what is wrong when it fails, waits, names nobody, or somebody else", function()
    local function problemOf(policy) return select(2, schedule.custom(policy, workers, {})) end
    assert.matches("failed: .*oops", problemOf(function() error("oops") end))
    local mute = setmetatable({}, { __tostring = function() error("no text") end })
    assert.matches("failed: and so does its error", problemOf(function() error(mute) end))
    assert.matches("waits", problemOf(function() coroutine.yield() end))
    assert.matches("no worker", problemOf(function() end))
    assert.matches("no listening worker", problemOf(function() return { id = 1 } end))
  end)
end)

describe("the names of policies", function()
  it("are what the environment may hold", function()
    assert.equal(schedule.SCHED_RR, (schedule.named("rr")))
    assert.equal(schedule.SCHED_NONE, (schedule.named("none")))
    assert.equal(schedule.SCHED_LEAST, (schedule.named("LEAST")))
    assert.is_nil((schedule.named(nil)))
    local policy, problem = schedule.named("fastest")
    assert.is_nil(policy)
    assert.matches("unknown scheduling policy 'fastest'", problem)
  end)
end)
