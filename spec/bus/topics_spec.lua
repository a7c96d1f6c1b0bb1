local topics = require("lrun.bus.topics")

describe("topics", function()
  it("fit patterns part by part", function()
    for pattern, lists in pairs{
      ["a"] = { "a", "aa a.b A" }, ["a.*"] = { "a.b a.bc", "a a.b.c b.a" }, ["*.b"] = { "a.b", "b a.a.b" }, ["**"] = { "a a.b.c", "" },
      ["a.**"] = { "a.b a.b.c", "a ab.c" }, ["**.c"] = { "a.c a.b.c", "c.d" }, ["a.x*.c"] = { "a.x.c a.xy.c", "a.y.c a.x.y.c" },
      ["a.b-[c]+%"] = { "a.b-[c]+%", "a.bc" }, ["*"] = { "a", "a.b" },
    } do
      for topic in lists[1]:gmatch("%S+") do assert.is_true(topics.fits(pattern, topic), pattern .. " " .. topic) end
      for topic in lists[2]:gmatch("%S+") do assert.is_false(topics.fits(pattern, topic), pattern .. " " .. topic) end
    end
    assert.equal("a.*\\[x\\]\\?*", topics.glob("a.*[x]?**"))
  end)
end)
