--- Ctrl-R: looks for older inputs that contain what is typed. While it runs the console hands over every key; a key that
--- means nothing to it ends it and is typed into the line that was found.
local search = {}

local DELETE, BACKSPACE, SEARCH, GIVE_UP = "\127", "\b", "\18", "\7"

---@param console table with show(prompt, line), search(on), insert(text)
---@param entries string[] the history, oldest first
---@param prompt string what comes back
---@param line string the line as it was
---@return fun(key: string) onKey
function search.start(console, entries, prompt, line)
  local query, at, found = "", #entries + 1, line

  local function show(failed)
    console.show(("(%ssearch) '%s': "):format(failed and "no more: " or "", query), found)
  end

  -- The newest entry up to `from` that contains the query.
  local function look(from)
    for i = from, 1, -1 do
      if entries[i]:find(query, 1, true) then
        at, found = i, entries[i]
        return show()
      end
    end
    show(true)
  end

  local function finish(text, key)
    console.search(false)
    console.show(prompt, text)
    if key then console.insert(key) end
  end

  console.search(true)
  show()
  return function(key)
    if key == SEARCH then
      if query ~= "" then look(at - 1) end
    elseif key == GIVE_UP then
      finish(line)
    elseif key == DELETE or key == BACKSPACE then
      query = query:gsub("[^\128-\191][\128-\191]*$", "")
      look(#entries)
    elseif key:byte() >= 32 then
      query = query .. key
      look(math.min(at, #entries))
    else
      finish(found, key)
    end
  end
end

return search
