--- A worker that never listens.
require("timers").setInterval(function() end, 1000)
