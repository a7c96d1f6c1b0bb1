-- post.lua: a script for wrk: POST with a body of 10 KiB.
wrk.method = "POST"
wrk.body = ("0123456789abcdef"):rep(640)
