-- headers.lua: a script for wrk: a hundred headers.
function init()
  for i = 1, 100 do wrk.headers["X-Header-" .. i - 1] = "a value of some length " .. i end
end
