--- HTTP and HTTPS requests in one call: `fetch(url[, options])` inside a coroutine returns a response, or nil and an error.
--- Follows redirects, decodes compressed bodies, keeps connections for the next call. Source: the Fetch standard, by the
--- rules of Lua: nothing is thrown but for wrong arguments.
local await = require("await")
local errors = require("errors")
local options = require("lrun.fetch.options")

---@class FetchOptions: TLSSocketOptions
---@field method string? "GET"; "POST" when there is a body
---@field headers table<string, string|number|string[]>?
---@field body (string|Readable)?
---@field json any? a value that is sent as JSON
---@field query table<string, string|number|boolean|table>? added to the URL; a list repeats its name
---@field redirect ("follow"|"manual"|"error")? "follow", at most 20
---@field timeout number? ms for all of it, the body included
---@field signal AbortSignal?
---@field agent Agent? of http or https
---@field compress boolean? true: asks for compressed bodies, and decodes what comes
---@field auth string? "user:password"

---@class fetch
---@overload fun(url: string|URL, given: FetchOptions?): FetchResponse?, Error?
local fetch = {}

local function run(_, url, given)
  local job, problem = options.read(url, given)
  if not coroutine.isyieldable() then
    error(errors.coded("ERR_INVALID_STATE", "fetch must be called inside a coroutine: a request handler, a listener, the main script, "
      .. "or await.spawn; and not inside a function that was called from C, such as table.sort's"), 0)
  end
  if not job then return nil, problem end
  local err, response = await(require("lrun.fetch.job").run, job)
  if err ~= nil then return nil, err end
  return response
end

return setmetatable(fetch, { __call = run })
