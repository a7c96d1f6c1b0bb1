--- A Redis client on our own sockets: RESP3, or RESP2 where the server speaks no other; Sentinel and Cluster.
local calls = require("lrun.check.calls")
local options = require("lrun.redis.options")

---@class RedisOptions
---@field url string? instead of the first argument
---@field host string? 127.0.0.1
---@field port integer? 6379
---@field path string? a unix socket's
---@field username string?
---@field password string?
---@field db integer? 0
---@field sentinel { name: string, hosts: { host: string?, port: integer? }[], password: string? }?
---@field cluster { hosts: { host: string?, port: integer? }[] }?
---@field connectTimeout integer? ms, 10000
---@field commandTimeout integer? ms; none
---@field retry { min: integer?, max: integer?, maxRetries: integer? }|false|nil pauses in ms, 50 to 2000
---@field maxRetries integer? tries to connect again, for ever
---@field offlineQueue integer? commands that may wait for a connection, 10000
---@field pendingLimit integer? commands that may be sent and not answered, 1000000
---@field outputLimit integer? bytes that may wait to be written, 256 MiB
---@field retryReads boolean? commands that only read are sent again when the connection was lost
---@field replyLimit integer? bytes of one reply, 512 MiB
---@field lazy boolean? connects with the first command
---@field tls table|boolean|nil options of `tls.connect`

---@class redis
local redis = {}

--- A client, at once: commands wait for the connection. Throws `ERR_INVALID_URL`.
---@param url string|RedisOptions|nil redis://[user:password@]host[:port][/db], rediss://…, redis+unix:///path[?db=n]
---@param more RedisOptions?
---@return RedisClient
function redis.connect(url, more)
  local read = options.read(url, more)
  if read.cluster then return require("lrun.redis.cluster"):new(read) end
  return require("lrun.redis.client").Client:new(read)
end

calls.functions(redis, "redis")

return redis
