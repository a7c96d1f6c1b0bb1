--- The coders behind content codings, by their names in HTTP, and which of them this machine has.
local coding = require("lrun.zlib.coding")

local coders = {}

local formats = coding.formats

-- The best that brotli and zstd can do costs too much, and their windows too much memory, for what is coded while a client waits:
-- quality 4 and 256 KiB, level 3 and 128 KiB.
local FORMATS = {
  gzip = { encode = formats.gzip, decode = formats.gunzip },
  deflate = { encode = formats.deflate, decode = formats.inflate },
  br = { encode = formats.brotliCompress, decode = formats.brotliDecompress, options = { params = { [1] = 4, [2] = 18 } } },
  zstd = { encode = formats.zstdCompress, decode = formats.zstdDecompress, options = { params = { [100] = 3, [101] = 17 } } },
}
FORMATS["x-gzip"] = FORMATS.gzip

local function open(kind, given)
  local options = coding.options(kind, given)
  return coding.open(kind, options), kind.family, options
end

--- A coder that compresses.
---@param name string
---@return userdata coder
---@return table family the numbers of its flushes
---@return table options for coding.failure
function coders.encoder(name) return open(FORMATS[name].encode, FORMATS[name].options) end

--- A coder that reads.
---@param name string
---@param first integer? the first byte: some send raw deflate, without zlib's head
---@return userdata coder
---@return table family
---@return table options
function coders.decoder(name, first)
  local kind = FORMATS[name].decode
  if kind == formats.inflate and first and first % 16 ~= 8 then kind = formats.inflateRaw end
  return open(kind)
end

-- zlib is in the program; the others are looked for when one is first asked for.
local there = { gzip = true, ["x-gzip"] = true, deflate = true }

--- Whether there is a coder of a name.
---@param name string
---@return boolean
function coders.isThere(name)
  if there[name] == nil and FORMATS[name] then
    local ok, coder = pcall(coders.encoder, name)
    if ok then coder:close() end
    there[name] = ok
  end
  return there[name] == true
end

--- What a client says that it reads.
---@return string
function coders.accepted()
  local list = { "gzip", "deflate" }
  for _, name in ipairs { "br", "zstd" } do
    if coders.isThere(name) then list[#list + 1] = name end
  end
  return table.concat(list, ", ")
end

return coders
