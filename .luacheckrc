-- luacheck's settings: LuaJIT, and the one global that lrun adds.
std = "luajit"
globals = { "process" }
max_line_length = 150
cache = false
exclude_files = { "build*" }

-- Callbacks name the arguments that they get, used or not; `self` comes with the colon.
ignore = { "212", "213" }

files["spec"] = { std = "+busted" }
-- wrk's own scripts.
files["bench/wrk"] = { globals = { "wrk", "request", "init", "done", "response", "setup", "delay" } }
