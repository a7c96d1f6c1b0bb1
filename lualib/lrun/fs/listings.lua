--- What directories held, by the key that the kernel gives a directory's state (runtime/files/list.c): a key that is known
--- stands for the same names. Two generations: when the younger one is full it becomes the older, and what is asked for in the
--- older one moves to the younger.
local MOST = 8192                   -- names in a generation

local listings = {}

local young, old, names = {}, {}, 0

local function put(key, listing)
  local size = #listing.names + 1
  if size > MOST / 2 then return end
  if names + size > MOST then young, old, names = {}, young, 0 end
  young[key] = listing
  names = names + size
end

--- Keeps a listing, which nobody may change any more.
---@param key string
function listings.keep(key, list, kinds) put(key, { names = list, kinds = kinds }) end

--- The names and their types, or false.
---@param key string
function listings.find(key)
  local listing = young[key]
  if not listing then
    listing = old[key]
    if not listing then return false end
    put(key, listing)
  end
  return listing.names, listing.kinds
end

return listings
