local pki = require("spec.support.pki")
pki.need()
local tls = require("tls")

local function names(text) return { subject = {}, subjectaltname = text } end
local function common(name) return { subject = { CN = name } } end

describe("tls.checkServerIdentity", function()
  it("finds a name among the alternatives, whatever its case and final dot", function()
    assert.is_nil(tls.checkServerIdentity("A.example.", names("DNS:b.example, DNS:a.EXAMPLE")))
    assert.is_nil(tls.checkServerIdentity("x.b.example", names("DNS:*.b.example")))
    assert.is_nil(tls.checkServerIdentity("10.0.0.1", names("IP Address:10.0.0.1")))
    assert.is_nil(tls.checkServerIdentity("2001:db8::1", names("IP Address:2001:DB8:0:0:0:0:0:1")))
    assert.is_nil(tls.checkServerIdentity("a.example", common{ "b.example", "a.example" }))
  end)

  it("says which names there are when none fits", function()
    for host, certificate in pairs{
      ["a.example"] = names("DNS:b.example"), ["x.y.b.example"] = names("DNS:*.b.example"), ["b.example"] = names("DNS:*.b.example"),
      ["example"] = common("*"), ["x.example"] = common("*.example"), ["10.0.0.1"] = common("10.0.0.1"), ["10.0.0.2"] = names("DNS:10.0.0.2"),
      ["c.example"] = { subject = {} }, ["xn--b.example"] = names("DNS:xn--*.example"),
    } do
      local err = tls.checkServerIdentity(host, certificate)
      assert.equal("ERR_TLS_CERT_ALTNAME_INVALID", err.code, host)
      assert.equal(host, err.host)
      assert.equal(certificate, err.cert)
    end
  end)

  it("ignores the common name where there are alternatives", function()
    local certificate = { subject = { CN = "a.example" }, subjectaltname = "DNS:b.example" }
    assert.equal("Host: a.example. is not in the cert's altnames: DNS:b.example", tls.checkServerIdentity("a.example", certificate).reason)
  end)

  it("is not deceived by commas, quotes and NULs inside a name", function()
    for _, text in ipairs{ 'DNS:"a.example, DNS:b.example"', 'DNS:"b.example\\u0000.evil"', 'DNS:"unfinished, DNS:b.example', 'DNS:"\\u' } do
      assert.equal("ERR_TLS_CERT_ALTNAME_INVALID", tls.checkServerIdentity("b.example", names(text)).code, text)
    end
  end)

  it("throws for what is no name and no certificate", function()
    assert.equal("ERR_INVALID_ARG_TYPE", select(2, pcall(tls.checkServerIdentity, nil, {})).code)
    assert.equal("ERR_INVALID_ARG_TYPE", select(2, pcall(tls.checkServerIdentity, "a", nil)).code)
  end)
end)
