--- The page that lists a folder, for http.serveFiles.
local listing = {}

--- A path as it stands in a URL.
---@param text string
---@return string
function listing.encode(text)
  return (text:gsub("[^%w%-._~/]", function(c) return ("%%%02X"):format(c:byte()) end))
end
local encode = listing.encode

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape(text) return (text:gsub("[&<>\"']", ENTITIES)) end

-- Folders first, each by name.
local function sorted(names, areFolders)
  local list = {}
  for i, name in ipairs(names) do list[i] = { name = areFolders[i] and name .. "/" or name, folder = areFolders[i] } end
  table.sort(list, function(a, b)
    if a.folder ~= b.folder then return a.folder end
    return a.name < b.name
  end)
  return list
end

--- The page.
---@param place string the folder's path, "/" or "/a/b/"
---@param names string[]
---@param areFolders boolean[]
---@param isCut boolean there are more names
---@return string html
function listing.page(place, names, areFolders, isCut)
  local title = escape(place)
  local lines = {
    "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>", title, "</title>\n<h1>",
      title, "</h1>\n<ul>\n",
  }
  if place ~= "/" then lines[#lines + 1] = "<li><a href=\"../\">../</a></li>\n" end
  for _, each in ipairs(sorted(names, areFolders)) do
    lines[#lines + 1] = ("<li><a href=\"./%s\">%s</a></li>\n"):format(encode(each.name), escape(each.name))
  end
  lines[#lines + 1] = "</ul>\n"
  if isCut then lines[#lines + 1] = "<p>There are more.</p>\n" end
  return table.concat(lines)
end

return listing
