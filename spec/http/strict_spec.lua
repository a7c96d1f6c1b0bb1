local await = require("await")
local http = require("http")
local timers = require("timers")
local uv = require("luv")
local rawhttp = require("spec.support.rawhttp")
local cases = require("spec.http.strict_cases")

-- Both ends are in this process: what is written is there at the next turn of the loop, and an answer at the one after.
local function turn() await(function(done) timers.setImmediate(done) end) end

describe("http strictness", function()
  local server, seen

  setup(function()
    server = http.createServer(function(req, res)
      local index = #seen[1] + 1
      local list = seen[1]
      list[index] = false
      local parts = {}
      req:on("data", function(chunk) parts[#parts + 1] = chunk end)
      req:on("end", function()
        list[index] = ("%s %s %s"):format(req.method, req.url, table.concat(parts))
        res:finish("ok")
      end)
    end)
  end)

  local function open()
    local fds = uv.socketpair("stream", 0, { nonblock = true }, { nonblock = true })
    local ours, theirs = uv.new_pipe(false), uv.new_pipe(false)
    ours:open(fds[1])
    theirs:open(fds[2])
    local peer = { handle = ours, parts = {}, closed = false }
    ours:read_start(function(err, data)
      if data then peer.parts[#peer.parts + 1] = data else peer.closed = true end
      if err then peer.closed = true end
    end)
    server:_onconnection(theirs)
    return peer
  end

  local function answer(peer)
    return table.concat(rawhttp.statuses(table.concat(peer.parts)), " ") .. (peer.closed and "!" or "")
  end

  -- Sends the pieces on a connection of its own; returns the answer and what the handler saw complete.
  local function send(pieces, want)
    seen = { {} }
    local peer = open()
    for _, piece in ipairs(pieces) do
      for at = 1, #piece, 65536 do peer.handle:try_write(piece:sub(at, at + 65535)) end
      turn()
    end
    for _ = 1, 12 do
      if answer(peer) == want and want ~= "" then break end
      turn()
    end
    local complete = {}
    for _, each in ipairs(seen[1]) do if each then complete[#complete + 1] = each end end
    local got = answer(peer)
    peer.handle:close()
    turn()
    return got, complete
  end

  assert(#cases >= 150)

  for _, case in ipairs(cases) do
    local name, bytes, want, requests = unpack(case)
    it(name, function()
      local got, complete = send({ bytes }, want)
      assert.equal(want, got)
      if requests then assert.same(requests, complete) end
      -- Long ones are cut around their ends only: the middle is all the same.
      for at = 1, #bytes - 1 do
        if #bytes < 700 or at < 40 or at > #bytes - 10 then
          got, complete = send({ bytes:sub(1, at), bytes:sub(at + 1) }, want)
          if got ~= want then error(("cut behind byte %d: got %q, expected %q"):format(at, got, want), 0) end
          if requests then assert.same(requests, complete) end
        end
      end
    end)
  end

  it("gives the same answers when every byte comes alone", function()
    for _, case in ipairs(cases) do
      local name, bytes, want = unpack(case)
      if #bytes < 300 then
        local pieces = {}
        for at = 1, #bytes do pieces[at] = bytes:sub(at, at) end
        local got = send(pieces, want)
        if got ~= want then error(("%s: got %q, expected %q"):format(name, got, want), 0) end
      end
    end
  end)
end)
