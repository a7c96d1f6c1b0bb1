--- Rate limits and the cache, in the hub: the driver does them.
local limits = { methods = {} }
local methods = limits.methods

local driver

function limits.start(given) driver = given end

function methods.limit(_, answer, key, n, window) driver.limit(key, n, window, answer) end
function methods.cacheGet(_, answer, key) driver.cache.get(key, answer) end
function methods.cacheSet(_, answer, key, bytes, ttl) driver.cache.set(key, bytes, ttl, answer) end
function methods.cacheDelete(_, answer, key) driver.cache.delete(key, answer) end

return limits
