local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local http = require("http")
local json = require("json")
local children = require("spec.support.children")
local markdown = require("spec.support.markdown")

-- The program of docs/patterns.md that people copy most must bear what clients send.
describe("the JSON API of docs/patterns.md", function()
  local directory, child, printed

  setup(function()
    local program
    for _, block in ipairs(markdown.blocks("docs/patterns.md")) do
      if block.language == "lua" and block.text:find("readTable", 1, true) then program = block.text end
    end
    directory = fs.mkdtempSync("/tmp/lrun-pattern-")
    local socket = directory .. "/socket"
    program = program:gsub(":listen%(8000%)", (":listen(%q, function() print('ready') end)"):format(socket))
    child = child_process.spawn(process.execPath, { "-e", program }, { stdio = { "ignore", "pipe", "pipe" } })
    printed = ""
    child.stderr:on("data", function(data) printed = printed .. data end)
    children.once(child.stdout, "data")
  end)

  teardown(function()
    child:kill("SIGKILL")
    children.once(child, "exit")
    fs.rmSync(directory, { recursive = true, force = true })
  end)

  local function ask(method, path, body)
    local request = http.request { socketPath = directory .. "/socket", method = method, path = path, agent = false }
    request:finish(body)
    local response = await(function(done) request:once("response", done) end)
    local text = response:body()
    assert.equal("application/json", response.headers["content-type"])
    return response.statusCode, json.decode(text)
  end

  local cases = {
    { "GET", "/", nil, 200, { greeting = "hello" } },
    { "GET", "/?x=%zz&&=", nil, 200, { greeting = "hello" } },
    { "PUT", "/notes/a%2Fb%20c", '{"text":"\\u00e9"}', 201, { name = "a/b c", text = "é" } },
    { "GET", "/notes/a%2Fb%20c", nil, 200, { name = "a/b c", text = "é" } },
    { "GET", "/notes/none", nil, 404, { error = "no note none" } },
    { "GET", "/nowhere", nil, 404, { error = "nothing at /nowhere" } },
    { "DELETE", "/notes/a", nil, 405, { error = "try GET, PUT" } },
    { "PUT", "/notes/a", '{"text":5}', 400, { error = "text must be a string" } },
    { "PUT", "/notes/a", "[]", 400, { error = "text must be a string" } },
    { "POST", "/sum?start=1%2E5", "[1,2]", 200, { sum = 4.5 } },
    { "POST", "/sum", "[]", 200, { sum = 0 } },
    { "POST", "/sum?start=x", "[]", 400, { error = "start must be a number" } },
    { "POST", "/sum?start=1&start=2", "[]", 400, { error = "start must be a number" } },
    { "POST", "/sum", '[1,"2"]', 400, { error = "entry 2 is no number" } },
    { "POST", "/sum", "5", 400, { error = "the body must be an object or a list" } },
    { "POST", "/sum", "null", 400, { error = "the body must be an object or a list" } },
  }
  for _, case in ipairs(cases) do
    local method, path, body, status, value = unpack(case, 1, 5)
    it(("answers %s %s %s with %d"):format(method, path, body or "", status), function()
      local got, answer = ask(method, path, body)
      assert.equal(status, got)
      assert.same(value, answer)
    end)
  end

  it("answers what is no JSON with 400, and too much with 413", function()
    for _, body in ipairs { "", "{", "nonsense", "[1" } do
      local status, answer = ask("POST", "/sum", body)
      assert.equal(400, status)
      assert.truthy(answer.error:find("^the body is no JSON: "))
    end
    local status, answer = ask("POST", "/sum", "[" .. ("1,"):rep(600000) .. "1]")
    assert.equal(413, status)
    assert.truthy(answer.error)
  end)

  it("printed nothing, none of them was its own fault", function() assert.equal("", printed) end)
end)
