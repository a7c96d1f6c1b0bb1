--- The files that pages show for other programs are ones that those accept: units of systemd, a deployment of Kubernetes, nginx's
--- configuration. What is not installed is skipped with a message.
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")
local markdown = require("spec.support.markdown")

local folder

-- Every block of a language in the pages: `f(block, where)`; how many there were.
local function each(language, f)
  local count = 0
  for _, name in ipairs(fs.readdirSync("docs")) do
    if name:find("%.md$") then
      for _, block in ipairs(markdown.blocks("docs/" .. name)) do
        if block.language == language then
          count = count + 1
          f(block, ("docs/%s:%d"):format(name, block.line))
        end
      end
    end
  end
  return count
end

-- Runs a command; nil, with a message, where it is not installed.
local function run(command, args)
  local result = child_process.spawnSync(command, args, { encoding = "utf8" })
  if not result.error then return result end
  print(("%s is not installed: skipped"):format(command))
end

local function write(name, text)
  fs.writeFileSync(folder .. "/" .. name, text)
  return folder .. "/" .. name
end

describe("files in the pages", function()
  setup(function() folder = fs.mkdtempSync("/tmp/lrun-docs-") end)
  teardown(function() fs.rmSync(folder, { recursive = true }) end)

  it("are units that systemd accepts", function()
    if not run("systemd-analyze", { "--version" }) then return end
    local units = each("ini", function(block, where)
      local kind = block.text:find("[Service]", 1, true) and "service" or block.text:find("[Socket]", 1, true) and "socket"
      assert(kind, where .. ": neither a service nor a socket")
      local text = block.text:gsub("/usr/[%w/]*bin/lrun", (process.execPath:gsub("%%", "%%%%")))
      write("app." .. kind, text)
      if kind == "socket" then return end
      local result = run("systemd-analyze", { "verify", folder .. "/app.service" })
      for line in (result.stderr .. result.stdout):gmatch("[^\n]+") do
        assert(not line:find("app.", 1, true), ("%s: %s"):format(where, line))
      end
    end)
    assert(units > 0)
  end)

  -- What the fields of a Kubernetes object may be here: a table of fields, "*" for anything.
  local META = { name = "*", labels = "*" }
  local PROBE = { httpGet = { path = "*", port = "*" } }
  local CONTAINER = {
    name = "*", image = "*", args = "*", env = "*", ports = "*", readinessProbe = PROBE, livenessProbe = PROBE, resources = "*",
  }
  local DEPLOYMENT = {
    apiVersion = "*", kind = "*", metadata = META,
    spec = {
      replicas = "*", selector = { matchLabels = "*" },
      template = { metadata = META, spec = { terminationGracePeriodSeconds = "*", containers = { CONTAINER } } },
    },
  }

  local function compare(value, shape, where)
    if shape == "*" then return end
    assert(type(value) == "table", where .. " is no object")
    for key, inner in pairs(value) do
      local known = shape[1] and shape[1] or shape[key]
      assert(known, ("%s has an unknown field %s"):format(where, key))
      compare(inner, known, ("%s.%s"):format(where, key))
    end
  end

  it("are a deployment as Kubernetes has it", function()
    local lint = run("yamllint", { "--version" })
    local python = run("python3", { "-c", "import yaml" })
    local count = each("yaml", function(block, where)
      local path = write("deployment.yaml", block.text)
      if lint then
        local result = run("yamllint", { "-s", "-d", "{extends: relaxed, rules: {line-length: disable}}", path })
        assert(result.status == 0, where .. ": " .. result.stdout)
      end
      if not python or python.status ~= 0 then return print("Python has no yaml: the fields are not looked at") end
      local translate = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
      local object = json.decode(run("python3", { "-c", translate, path }).stdout)
      compare(object, DEPLOYMENT, where)
      assert.same({ "apps/v1", "Deployment" }, { object.apiVersion, object.kind })
      local template = object.spec.template
      assert.same(object.spec.selector.matchLabels, template.metadata.labels)
      assert(template.spec.terminationGracePeriodSeconds > 8, "shorter than lrun run drains")
      for _, container in ipairs(template.spec.containers) do
        assert(container.name and container.image)
        assert.equal(container.ports[1].containerPort, container.readinessProbe.httpGet.port)
        for _, variable in ipairs(container.env) do assert.equal("string", type(variable.value)) end
      end
    end)
    assert(count > 0)
  end)

  it("are what nginx accepts", function()
    if not run("nginx", { "-v" }) then return end
    local count = each("nginx", function(block, where)
      local path = write("nginx.conf", ("pid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s}\n"):format(folder, block.text))
      local result = run("nginx", { "-t", "-p", folder, "-c", path, "-e", "stderr" })
      assert(result.status == 0, ("%s: %s"):format(where, result.stderr))
    end)
    assert(count > 0)
  end)
end)
