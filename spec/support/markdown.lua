--- The code blocks and links of a Markdown page.
local markdown = {}

---@class Block
---@field language string what stands behind the fence: "lua", "text", "sh", …
---@field line integer of its first line of code
---@field text string
---@field note string? the HTML comment right before it: `<!-- note -->`

--- The fenced blocks of a page, in order.
---@param path string
---@return Block[]
function markdown.blocks(path)
  local blocks, open, note, number = {}, nil, nil, 0
  for line in io.lines(path) do
    number = number + 1
    local language = line:match("^%s*```(%w*)%s*$")
    if open and language then
      open.text = table.concat(open.lines, "\n") .. "\n"
      blocks[#blocks + 1] = open
      open = nil
    elseif open then
      table.insert(open.lines, line)
    elseif language then
      open = { language = language, line = number + 1, lines = {}, note = note }
      note = nil
    elseif line:find("%S") then
      note = line:match("^%s*<!%-%- (.-) %-%->%s*$")
    end
  end
  assert(not open, path .. ": a block without an end")
  return blocks
end

--- Where the page's links lead, those into other sites left out.
---@param path string
---@return string[]
function markdown.links(path)
  local links, inside = {}, false
  for line in io.lines(path) do
    if line:find("^%s*```") then inside = not inside end
    if not inside then
      for target in line:gsub("`[^`]*`", ""):gmatch("%]%(([^)%s]+)%)") do
        if not target:find("^%a+:") then links[#links + 1] = target end
      end
    end
  end
  return links
end

--- The names by which links reach the page's headings.
---@param path string
---@return table<string, boolean>
function markdown.anchors(path)
  local anchors = {}
  for line in io.lines(path) do
    local title = line:match("^#+%s+(.-)%s*$")
    if title then
      title = title:gsub("%[([^%]]*)%]%([^)]*%)", "%1"):lower():gsub("[^%w%s_%-]", ""):gsub("%s", "-")
      anchors[title] = true
    end
  end
  return anchors
end

return markdown
