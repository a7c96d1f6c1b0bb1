--- A flame graph: samples of stacks as one SVG file that needs nothing else. Each function is a bar as wide as the samples that it, or
--- what it called, was met in; what it called stands below it. A click on a bar makes it the whole width, Escape or a click on the
--- first one takes that back; what is typed into the field is looked for.
local wire = require("lrun.manager.wire")

local flame = {}

local WIDTH, ROW, TOP, MARGIN, CHARACTER = 1200, 17, 46, 8, 7
local LEAST = 0.3                   -- units of the width: narrower bars are left out

local function escape(text)
  text = wire.utf8(text):gsub("[%z\1-\8\11\12\14-\31]", "?")
  return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

-- The stacks as a tree: { name, count, children = { … by name } }.
local function grow(stacks)
  local root = { name = "all", count = 0, children = {} }
  for _, each in ipairs(stacks) do
    root.count = root.count + each.count
    local at = root
    for name in each.stack:gmatch("[^;]+") do
      local child = at.children[name]
      if not child then
        child = { name = name, count = 0, children = {} }
        at.children[name] = child
      end
      child.count = child.count + each.count
      at = child
    end
  end
  return root
end

local function hash(text)
  local value = 7
  for i = 1, #text do value = (value * 31 + text:byte(i)) % 65521 end
  return value
end

-- Lua is warm, the runtime and C are blue, the collector and the compiler green.
local function color(name)
  local value = hash(name)
  local hue, light = 10 + value % 45, 62 + math.floor(value / 45) % 14
  if name:find("^lrun:") or name:find("^%[builtin") or name:find("^@0x") or name:find("^C:") then hue = 205 + value % 20 end
  if name:find("^%(") then hue = 130 + value % 20 end
  return ("hsl(%d,75%%,%d%%)"):format(hue, light)
end

local function sortedChildren(node)
  local list = {}
  for _, child in pairs(node.children) do list[#list + 1] = child end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

-- Appends the bars of a node and of what is below; returns the deepest row.
local function bars(out, node, x, depth, total)
  local width = WIDTH * node.count / total
  if width < LEAST then return depth end
  local label = math.floor((width - 6) / CHARACTER)
  local shown = label >= 3 and (#node.name > label and node.name:sub(1, label - 2) .. ".." or node.name) or ""
  out[#out + 1] = ('<g class="f" tabindex="0" data-x="%.3f" data-w="%.3f" data-d="%d" data-n="%s">'
    .. '<title>%s: %d samples, %.1f %%</title><rect x="%.3f" y="%d" width="%.3f" height="%d" fill="%s"/>'
    .. '<text x="%.3f" y="%d">%s</text></g>\n'):format(x, width, depth, escape(node.name), escape(node.name), node.count,
    100 * node.count / total, x, TOP + depth * ROW, width, ROW - 1, color(node.name), x + 3, TOP + depth * ROW + 12, escape(shown))
  local deepest = depth
  for _, child in ipairs(sortedChildren(node)) do
    deepest = math.max(deepest, bars(out, child, x, depth + 1, total))
    x = x + WIDTH * child.count / total
  end
  return deepest
end

local STYLE = [[
text{font:12px ui-monospace,monospace;fill:#222;pointer-events:none}
.title{font-weight:bold}
.f{cursor:pointer}.f:focus{outline:none}.f:hover rect,.f:focus rect{stroke:#000;stroke-width:.6}
.above{opacity:.5}.hidden{display:none}.found rect{fill:#c4f}
input{font:12px ui-monospace,monospace;width:230px;box-sizing:border-box}
]]

local SCRIPT = [[
(function () {
  "use strict";
  var width = @WIDTH@, character = @CHARACTER@, slack = 0.01;
  var frames = Array.prototype.map.call(document.querySelectorAll(".f"), function (g) {
    return { g: g, rect: g.querySelector("rect"), text: g.querySelector("text"), name: g.dataset.n,
      x: +g.dataset.x, w: +g.dataset.w, d: +g.dataset.d };
  });
  var message = document.getElementById("message"), field = document.getElementById("search");
  function fit(frame, w) {
    var room = Math.floor((w - 6) / character);
    frame.text.textContent = room < 3 ? "" : frame.name.length > room ? frame.name.slice(0, room - 2) + ".." : frame.name;
  }
  function zoom(to) {
    frames.forEach(function (frame) {
      var inside = frame.x >= to.x - slack && frame.x + frame.w <= to.x + to.w + slack;
      var above = frame.d < to.d && frame.x <= to.x + slack && frame.x + frame.w >= to.x + to.w - slack;
      frame.g.classList.toggle("above", above);
      frame.g.classList.toggle("hidden", !(above || inside && frame.d >= to.d));
      var x = above ? 0 : (frame.x - to.x) * width / to.w, w = above ? width : frame.w * width / to.w;
      frame.rect.setAttribute("x", x);
      frame.rect.setAttribute("width", w);
      frame.text.setAttribute("x", x + 3);
      fit(frame, w);
    });
  }
  function search(text) {
    var found = 0, end = -1, first = frames[0];
    frames.forEach(function (frame) {
      var is = text !== "" && frame.name.toLowerCase().indexOf(text.toLowerCase()) >= 0;
      frame.g.classList.toggle("found", is);
      if (is && frame.x >= end - slack) { found += frame.w; end = frame.x + frame.w; }
    });
    message.textContent = text === "" ? "" : (100 * found / first.w).toFixed(1) + " % found";
  }
  frames.forEach(function (frame) {
    frame.g.addEventListener("click", function () { zoom(frame); });
    frame.g.addEventListener("keydown", function (event) { if (event.key === "Enter") zoom(frame); });
  });
  document.addEventListener("keydown", function (event) { if (event.key === "Escape" && frames[0]) zoom(frames[0]); });
  field.addEventListener("input", function () { search(field.value); });
})();
]]

--- The graph as the text of a file.
---@param stacks { stack: string, count: integer }[] frames between semicolons, the outermost first
---@param title string
---@return string
function flame.svg(stacks, title)
  local root, out = grow(stacks), {}
  local deepest = root.count > 0 and bars(out, root, 0, 0, root.count) or 0
  local height = TOP + (deepest + 1) * ROW + MARGIN
  local script = SCRIPT:gsub("@(%u+)@", { WIDTH = WIDTH, CHARACTER = CHARACTER })
  return table.concat{
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="100%%" preserveAspectRatio="xMidYMin">\n'):format(WIDTH, height),
    "<style>", STYLE, "</style>\n", ('<rect width="%d" height="%d" fill="#fffdf8"/>\n'):format(WIDTH, height),
    ('<text class="title" x="%d" y="18">%s</text>\n'):format(MARGIN, escape(title)),
    ('<text id="message" x="%d" y="18" text-anchor="end"></text>\n'):format(WIDTH - 250),
    ('<foreignObject x="%d" y="4" width="236" height="26"><input xmlns="http://www.w3.org/1999/xhtml" id="search" '
      .. 'placeholder="search" aria-label="search"/></foreignObject>\n'):format(WIDTH - 240),
    ('<text x="%d" y="36">%s</text>\n'):format(MARGIN, root.count == 0 and "no samples: the process did nothing"
      or "click: zoom in; Escape: out"),
    table.concat(out), "<script><![CDATA[\n", script, "]]></script>\n</svg>\n",
  }
end

return flame
