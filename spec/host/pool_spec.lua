-- runtime/host/pool.c: small blocks of all sizes keep what is in them, also when there are more than the pool has room for.

-- A value of about so many bytes, and whether it still is what it was.
local function make(i)
  local size = i * 37 % 700
  if i % 3 == 0 then return ("%d:"):format(i) .. ("x"):rep(size) end
  local value = {}
  if i % 3 == 1 then for at = 1, size / 16 do value[at] = i + at end
  else for at = 1, size / 60 do value["k" .. at] = i + at end end
  return value
end

local function isWhole(value, i)
  local size = i * 37 % 700
  if i % 3 == 0 then return value == ("%d:"):format(i) .. ("x"):rep(size) end
  local count = 0
  for key, each in pairs(value) do
    count = count + 1
    if each ~= i + tonumber((tostring(key):gsub("k", ""))) then return false end
  end
  return count == math.floor(i % 3 == 1 and size / 16 or size / 60)
end

describe("memory", function()
  it("keeps values of all sizes while others are made, grown and dropped", function()
    local kept, of, random = {}, {}, 1
    for i = 1, 60000 do
      random = random * 16807 % 2147483647
      local slot = random % 3000 + 1
      if kept[slot] then assert.is_true(isWhole(kept[slot], of[slot])) end
      kept[slot], of[slot] = make(i), i
    end
    collectgarbage()
    for slot, value in pairs(kept) do assert.is_true(isWhole(value, of[slot])) end
  end)

  it("goes on past what the pool has room for, and takes it back", function()
    local function fill(count)         -- tables of some 200 bytes
      local list = {}
      for round = 1, 2 do
        for i = 1, count do list[i] = { i, round, i + round, i * round, i, i, i, i, i } end
        for i = 1, count, 7 do assert(list[i][3] == i + round and list[i][9] == i) end
      end
    end
    fill(500000)
    collectgarbage()
    assert.is_true(collectgarbage("count") < 64 * 1024)
  end)

  it("reads and writes from coroutines whose stacks grow and shrink", function()
    local function deep(n) return n == 0 and coroutine.yield() or deep(n - 1) + 1 end
    for _ = 1, 50 do
      local threads = {}
      for i = 1, 40 do
        threads[i] = coroutine.create(deep)
        assert(coroutine.resume(threads[i], i * 10))
      end
      for i = 1, 40 do assert.equal(i * 10, select(2, coroutine.resume(threads[i], 0))) end
    end
  end)
end)
