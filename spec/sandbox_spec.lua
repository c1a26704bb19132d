-- Checks that the sandbox keeps the contract: errors, tokens and their rotation, lists, filters, ETags, Operations.
-- Whoever tests a client against it has to know that. Misbehaviour is checked in sandbox_faults_spec, the process in
-- sandbox_process_spec.

local boxes = require "spec.support.box"
local dates = require "dpg.sandbox.dates"
local http = require "spec.support.raw_http"
local json = require "dpg.sandbox.json"
local sandbox = require "dpg.sandbox"
local totp = require "dpg.sandbox.totp"

local call = http.call
local connect = http.connect
local device = http.device
local exchange = http.exchange
local get = http.get
local read_response = http.read_response
local refresh_token_of = http.refresh_token_of
local sign_in = http.sign_in

describe("dpg.sandbox", function()
  local box

  setup(function() box = boxes.start() end)
  teardown(function() box:stop() end)
  before_each(function()
    box:clear_faults()
    box:set {
      rotation = "strict", access_token_life = 900, operation_polls = 2, api_enabled = true, etag = true, variants = {},
      sign_in_limit = false, rate_limit = false, operation_outcome = "succeeded", operation_retry_after = false,
    }
    box:reset_seen()
  end)

  describe("errors", function()
    local cases = { -- promise, method, path, options(box), status, code, field
      { "wants a token", "GET", "/me", function() return {} end, 401, "unauthorized" },
      { "refuses an unknown token", "GET", "/me", function() return { token = "nonsense" } end, 401, "unauthorized" },
      { "refuses an expired token", "GET", "/me", function(b) return { token = b.tokens.expired } end,
        401, "unauthorized" },
      { "refuses a revoked token", "GET", "/me", function(b) return { token = b.tokens.revoked } end,
        401, "unauthorized" },
      { "refuses a scope that is lacking", "GET", "/images", function(b) return { token = b.tokens.none } end,
        403, "forbidden" },
      { "refuses a write to a reader", "PATCH", "/images/x",
        function(b) return { token = b.tokens.read, key = "1" } end, 403, "forbidden" },
      { "has no other paths", "GET", "/nothing", function(b) return { token = b.token } end, 404, "not_found" },
      { "has no other methods", "DELETE", "/me", function(b) return { token = b.token } end,
        405, "method_not_allowed" },
      { "has no such image", "GET", "/images/x", function(b) return { token = b.token } end, 404, "image_not_found" },
      { "has no such set", "GET", "/sets/x", function(b) return { token = b.token } end, 404, "set_not_found" },
      { "has no such operation", "GET", "/operations/x", function(b) return { token = b.token } end,
        404, "operation_not_found" },
      { "limits a page to 200", "GET", "/images?limit=201", function(b) return { token = b.token } end,
        400, "validation", "limit" },
      { "wants whole offsets", "GET", "/images?offset=-1", function(b) return { token = b.token } end,
        400, "validation", "offset" },
      { "wants ratings up to 5", "GET", "/images?min_rating=6", function(b) return { token = b.token } end,
        400, "validation", "min_rating" },
      { "wants dates", "GET", "/images?created_at_from=x", function(b) return { token = b.token } end,
        400, "validation", "created_at_from" },
      { "wants four sides of a box", "GET", "/images?bbox=1,2,3", function(b) return { token = b.token } end,
        400, "validation", "bbox" },
      { "wants an Idempotency-Key", "PATCH", "/images/x", function(b) return { token = b.token, body = {} } end,
        400, "validation", "Idempotency-Key" },
      { "wants a device", "POST", "/auth/sign_in", function() return { body = { login = "a", password = "b" } } end,
        400, "validation", "device" },
      { "wants JSON", "POST", "/auth/token", function() return { body = "refresh_token=x" } end,
        400, "validation", "body" },
      { "knows no other refresh tokens", "POST", "/auth/token",
        function() return { body = { refresh_token = "x", account_uuid = "y" } } end, 401, "unauthorized" },
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local response = call(box, case[2], case[3], case[4](box))
        local err = response.json.error
        assert.same({ case[5], case[6], case[7] or json.null }, { response.status, err.code, err.field })
        assert.equal(response.headers["x-request-id"], err.request_id)
        assert.is_string(err.message)
      end)
    end

    it("says which methods there are", function()
      assert.equal("DELETE, GET, HEAD, PATCH", call(box, "PUT", "/images/x", { token = box.token }).headers.allow)
    end)

    it("answers api_not_enabled, whichever token is used, while the API is off", function()
      box:set { api_enabled = false }
      for _, token in ipairs { box.token, "nonsense" } do
        local response = call(box, "GET", "/me", { token = token })
        assert.same({ 403, "api_not_enabled" }, { response.status, response.json.error.code })
      end
    end)

    it("answers bytes that are no HTTP with 400 and closes", function()
      local client = connect(box)
      client:send "what is this?\r\n\r\n"
      assert.equal(400, read_response(client).status)
      assert.equal("closed", select(2, client:receive(1)))
      client:close()
    end)
  end)

  describe("service tokens", function()
    it("tells the account, the token's name and its scopes", function()
      local me = call(box, "GET", "/me", { token = box.tokens.read }).json
      assert.same({ "api.images.read" }, me.capabilities)
      assert.equal(box.accounts[1].uuid, me.account.uuid)
      assert.equal("Website", me.service_token.name)
    end)

    it("writes a token without scopes as an empty list", function()
      assert.truthy(call(box, "GET", "/me", { token = box.tokens.none }).body:find('"capabilities":[]', 1, true))
    end)

    it("mints others, which run out on the sandbox's clock", function()
      local token = box:mint { scopes = { "api.sets.write" }, expires_in = 60 }
      assert.same({ "api.sets.write" }, call(box, "GET", "/me", { token = token }).json.capabilities)
      box:advance(60)
      assert.equal(401, call(box, "GET", "/me", { token = token }).status)
    end)

    it("keeps one account's library from another", function()
      local uuid = get(box, "/images?limit=1").json[1].public_uuid
      local response = call(box, "GET", "/images/" .. uuid, { token = box.tokens.other_account })
      assert.equal(404, response.status)
    end)
  end)

  describe("signing in", function()
    it("gives a refresh token and the person's accounts", function()
      local response = sign_in(box, "jane")
      assert.equal(200, response.status)
      assert.same({ box.accounts[1].uuid, box.accounts[2].uuid },
        { response.json.accounts[1].uuid, response.json.accounts[2].uuid })
      assert.is_string(response.json.refresh_token)
    end)

    it("refuses a wrong password", function()
      local body = { login = box.people.jane.login, password = "wrong", device = device }
      assert.equal(401, call(box, "POST", "/auth/sign_in", { body = body }).status)
    end)

    local function mfa(mfa_token, code)
      return call(box, "POST", "/auth/mfa", { body = { mfa_token = mfa_token, code = code } })
    end

    it("asks for a second factor and takes the demo code once", function()
      local first = sign_in(box, "omar").json
      assert.is_nil(first.refresh_token)
      assert.equal(401, mfa(first.mfa_token, "000000").status)
      assert.is_string(mfa(first.mfa_token, box.people.omar.code).json.refresh_token)
      assert.equal(401, mfa(first.mfa_token, box.people.omar.code).status)
    end)

    it("takes the authenticator's code of the moment, and no old one", function()
      local secret = totp.from_base32(box.people.omar.totp_secret)
      local before, code, after = box:now(), box:code "omar", box:now() -- a new one may begin meanwhile
      assert.is_true(code == totp.code(secret, before) or code == totp.code(secret, after), code)
      assert.equal(200, mfa(sign_in(box, "omar").json.mfa_token, code).status)
      box:advance(120)
      assert.equal(401, mfa(sign_in(box, "omar").json.mfa_token, code).status)
    end)

    it("lets a challenge run out", function()
      local mfa_token = sign_in(box, "omar").json.mfa_token
      box:advance(301)
      assert.equal(401, mfa(mfa_token, box.people.omar.code).status)
    end)

    it("is limited by login, and says how long to wait", function()
      box:set { sign_in_limit = { 2, 30 } }
      local begun = box:now()
      assert.same({ 200, 200 }, { sign_in(box, "jane").status, sign_in(box, "jane").status })
      local response = sign_in(box, "jane")
      assert.same({ 429, "rate_limited" }, { response.status, response.json.error.code })
      local wait = tonumber(response.headers["retry-after"])
      assert.is_true(wait >= 29 - math.ceil(box:now() - begun) and wait <= 30)
      assert.equal(200, sign_in(box, "solo").status)
      box:advance(wait)
      assert.equal(200, sign_in(box, "jane").status)
    end)
  end)

  describe("refresh tokens", function()
    local account

    before_each(function() account = box.accounts[1] end)

    it("change with every use, and the newest works", function()
      local token = refresh_token_of(box, "jane")
      local seen = {}
      for round = 1, 3 do
        local answer = exchange(box, token, box.accounts[round % 2 + 1]).json
        assert.same({ 900, "Bearer" }, { answer.expires_in, answer.token_type })
        assert.is_nil(seen[answer.refresh_token])
        seen[answer.refresh_token] = true
        local me = call(box, "GET", "/me", { token = answer.access_token }).json
        assert.same({ box.people.jane.login, box.accounts[round % 2 + 1].uuid }, { me.user.login, me.account.uuid })
        token = answer.refresh_token
      end
    end)

    it("stay good when the account is not the person's", function()
      local token = refresh_token_of(box, "solo")
      assert.equal(403, exchange(box, token, box.accounts[2]).status)
      assert.equal(200, exchange(box, token, account).status)
    end)

    it("revoke their family when a spent one is presented (strict)", function()
      local spent = refresh_token_of(box, "jane")
      local newest = exchange(box, spent, account).json
      local before = box:report()
      assert.same({ 401, "unauthorized" }, { exchange(box, spent, account).status,
        call(box, "GET", "/me", { token = newest.access_token }).json.error.code })
      assert.equal(401, exchange(box, newest.refresh_token, account).status)
      local after = box:report()
      assert.same({ 1, 1, 1 }, {
        after.families_revoked - before.families_revoked, after.presented_spent - before.presented_spent,
        after.presented_more_than_once - before.presented_more_than_once,
      })
    end)

    it("leave other families of the person alone", function()
      local other = refresh_token_of(box, "jane")
      local spent = refresh_token_of(box, "jane")
      exchange(box, spent, account)
      exchange(box, spent, account)
      assert.equal(200, exchange(box, other, account).status)
    end)

    it("answer the same successor within the grace, and revoke after it", function()
      box:set { rotation = "grace", grace = 300 }
      local spent = refresh_token_of(box, "jane")
      local first = exchange(box, spent, account).json
      box:advance(270) -- the rest is for a slow machine
      local rotations = box:exchanges()
      local again = exchange(box, spent, account).json
      assert.equal(first.refresh_token, again.refresh_token)
      assert.equal(rotations, box:exchanges())
      assert.equal(200, call(box, "GET", "/me", { token = again.access_token }).status)
      box:advance(30)
      assert.equal(401, exchange(box, spent, account).status)
      assert.equal(401, exchange(box, first.refresh_token, account).status)
    end)

    it("grant no grace once the successor has been used", function()
      box:set { rotation = "grace", grace = 30 }
      local spent = refresh_token_of(box, "jane")
      local successor = exchange(box, spent, account).json.refresh_token
      exchange(box, successor, account)
      assert.equal(401, exchange(box, spent, account).status)
    end)

    it("are listed by digest with what became of them", function()
      local token = refresh_token_of(box, "solo")
      local successor = exchange(box, token, account).json.refresh_token
      local list = box:refresh_tokens()
      local one, two = list[#list - 1], list[#list]
      assert.same({ sandbox.digest(token), "solo", 1, 1, "spent", sandbox.digest(successor) },
        { one.id, one.person, one.generation, one.presented, one.state, one.successor })
      assert.same({ sandbox.digest(successor), one.family, 2, 0, "current" },
        { two.id, two.family, two.generation, two.presented, two.state })
    end)

    it("can be revoked from outside", function()
      local token = refresh_token_of(box, "solo")
      assert.is_true(box:revoke_family "solo" >= 1)
      assert.equal(401, exchange(box, token, account).status)
    end)

    it("outlive a revocation of access tokens", function()
      local answer = exchange(box, refresh_token_of(box, "jane"), account).json
      assert.is_true(box:revoke_access_tokens() >= 1)
      assert.equal(401, call(box, "GET", "/me", { token = answer.access_token }).status)
      assert.equal(200, exchange(box, answer.refresh_token, account).status)
    end)

    it("give access tokens that run out on the sandbox's clock, after fractions too", function()
      box:set { access_token_life = 0.5 }
      local answer = exchange(box, refresh_token_of(box, "jane"), account).json
      assert.equal(0.5, answer.expires_in)
      box:advance(0.5)
      assert.equal(401, call(box, "GET", "/me", { token = answer.access_token }).status)
    end)

    it("are spent before the answer leaves, also when it never arrives", function()
      local token = refresh_token_of(box, "jane")
      box:fault { path = "/auth/token", drop = "after" }
      local response, err = exchange(box, token, account)
      assert.same({ nil, "closed" }, { response, err })
      assert.equal(401, exchange(box, token, account).status)
    end)

    it("are not spent where the request is dropped before the work", function()
      local token = refresh_token_of(box, "jane")
      box:fault { path = "/auth/token", drop = "before" }
      assert.is_nil((exchange(box, token, account)))
      assert.equal(200, exchange(box, token, account).status)
    end)
  end)

  describe("images", function()
    it("come in pages, newest first, to the end", function()
      local offset, total, last = 0, 0, "9999"
      repeat
        local response = get(box, "/images?limit=50&offset=" .. offset)
        for _, image in ipairs(response.json) do
          assert.is_true(image.created_at <= last)
          last, total = image.created_at, total + 1
        end
        offset = tonumber(response.headers["x-next-offset"])
      until response.headers["x-has-more"] ~= "true"
      assert.same({ 120, 120, "false" }, { total, offset, get(box, "/images?offset=500").headers["x-has-more"] })
    end)

    it("tell the last page, also where it is a full one", function()
      local function more(query)
        local headers = get(box, "/images?" .. query).headers
        return headers["x-has-more"] .. " " .. headers["x-next-offset"]
      end
      assert.same({ "false 120", "true 119", "false 120" },
        { more "offset=70&limit=50", more "offset=69&limit=50", more "offset=119&limit=200" })
    end)

    it("default to 50 on a page, and an empty page is []", function()
      assert.equal(50, #get(box, "/images").json)
      assert.equal("[]", get(box, "/images?query=nosuchword").body)
    end)

    it("have everything when asked for alone", function()
      local uuid = get(box, "/images?limit=1").json[1].public_uuid
      local image = get(box, "/images/" .. uuid).json
      assert.equal(uuid, image.public_uuid)
      assert.is_string(image.metadata.creator)
      assert.is_string(image.metadata.exif.Model)
      assert.same(image.versions, get(box, "/images/" .. uuid .. "/versions").json)
      assert.equal(1, (image.versions[1].url:find(box.cdn_url .. "/", 1, true)))
      assert.truthy(image.keywords[1].value)
    end)

    local function all(path)
      return get(box, path .. (path:find "?" and "&" or "?") .. "limit=200").json
    end

    local function word_in(image, word)
      local text = (image.title .. " " .. image.description):lower()
      for _, keyword in ipairs(image.keywords) do text = text .. " " .. keyword.value:lower() end
      return text:find(word, 1, true) ~= nil
    end

    local function keyword_in(image, namespace, value)
      for _, keyword in ipairs(image.keywords) do
        local there = (not namespace or keyword.namespace == namespace) and (not value or keyword.value == value)
        if there then return true end
      end
      return false
    end

    local filters = { -- query, whether an image should be there
      { "query=sunset", function(i) return word_in(i, "sunset") end },
      { "query=%2Bsunset+-lakeside", function(i) return word_in(i, "sunset") and not word_in(i, "lakeside") end },
      { "query=%22main+stage%22", function(i) return word_in(i, "main stage") end },
      { "query=lakes*", function(i) return word_in(i, "lakeside") end },
      { "query=-concert", function(i) return not word_in(i, "concert") end },
      { "query=sunset+waterfall", function(i) return word_in(i, "sunset") or word_in(i, "waterfall") end },
      { "keyword=artist:Marina%20Vale", function(i) return keyword_in(i, "artist", "Marina Vale") end },
      { "keyword=Lakeside&namespace=stage", function(i) return keyword_in(i, "stage", "Lakeside") end },
      { "keyword=concert", function(i) return keyword_in(i, nil, "concert") end },
      { "namespace=location", function(i) return keyword_in(i, "location") end },
      { "rating=0", function(i) return i.rating == 0 end },
      { "min_rating=4", function(i) return i.rating >= 4 end },
      { "has_geo=true", function(i) return i.geo ~= json.null end },
      { "has_video=1", function(i) return i.has_video end },
      { "bbox=17,59,19,60", function(i) return i.geo ~= json.null and i.geo.latitude > 59 and i.geo.latitude < 60 end },
      { "created_at_from=2025-09-13&created_at_to=2025-09-13",
        function(i) return i.created_at:sub(1, 10) == "2025-09-13" end },
      { "creation_date_to=2025-09-12T12:00:00Z", function(i) return i.creation_date <= "2025-09-12T12:00:00Z" end },
      { "updated_at_from=2025-09-14", function(i) return i.updated_at >= "2025-09-14" end },
      { "min_rating=3&keyword=concert", function(i) return i.rating >= 3 and keyword_in(i, nil, "concert") end },
    }
    for _, case in ipairs(filters) do
      it("are filtered by " .. case[1], function()
        local expected, found = {}, {}
        for _, image in ipairs(all "/images") do
          if case[2](image) then expected[#expected + 1] = image.public_uuid end
        end
        for index, image in ipairs(all("/images?" .. case[1])) do
          found[index] = image.public_uuid
        end
        assert.same(expected, found)
        assert.is_true(#found > 0 and #found < 120)
      end)
    end

    it("are filtered by EXIF", function()
      local found = all "/images?exif_property=Model&exif_value=Z%208"
      assert.is_true(#found > 0 and #found < 120)
      assert.equal("Z 8", get(box, "/images/" .. found[1].public_uuid).json.metadata.exif.Model)
    end)

    it("are counted in facets, under the same filters", function()
      local facets = get(box, "/facets?min_rating=4").json
      assert.equal(#all "/images?min_rating=4", facets.total)
      local sum = 0
      for _, row in ipairs(facets.ratings) do
        assert.is_true(row.value >= 4)
        sum = sum + row.count
      end
      assert.equal(facets.total, sum)
    end)

    it("make up the vocabulary and its axes", function()
      local keywords = all "/keywords?namespace=artist"
      assert.is_true(#keywords > 3)
      for _, keyword in ipairs(keywords) do
        assert.equal("artist:" .. keyword.value, keyword.keyword)
        assert.equal(keyword.count, #all("/images?keyword=" .. keyword.keyword:gsub("&", "%%26"):gsub(" ", "+")))
      end
      local axes = {}
      for _, axis in ipairs(all "/keywords/namespaces") do axes[axis.namespace] = axis.keywords end
      assert.equal(#keywords, axes.artist)
    end)

    it("are the same in every sandbox", function()
      local other = boxes.start()
      local function all_of(one)
        return (get(one, "/images?limit=200").body:gsub(":%d+/", "/")) -- their ports differ
      end
      local same = all_of(other) == all_of(box)
      other:stop()
      assert.is_true(same)
    end)
  end)

  describe("sets", function()
    it("form a tree of twelve, and the list walks the same tree", function()
      local count = 0
      local function compare(nodes, listed)
        assert.equal(#nodes, #listed)
        for index, node in ipairs(nodes) do
          count = count + 1
          assert.equal(node.name, listed[index].name)
          assert.equal(node.name, get(box, "/sets/" .. node.public_uuid).json.name)
          assert.equal(node.image_count, #get(box, "/sets/" .. node.public_uuid .. "/images?limit=200").json)
          compare(node.children, get(box, "/sets?parent_public_uuid=" .. node.public_uuid).json)
        end
      end
      compare(get(box, "/sets/tree").json, get(box, "/sets").json)
      assert.equal(12, count)
    end)

    it("are named by the images that they hold", function()
      local tree = get(box, "/sets/tree").json
      local set = tree[1].children[1]
      local image = get(box, "/sets/" .. set.public_uuid .. "/images").json[1]
      local uuids = get(box, "/images/" .. image.public_uuid).json.set_public_uuids
      assert.is_true(table.concat(uuids, " "):find(set.public_uuid, 1, true) ~= nil)
    end)
  end)

  it("lists metadata profiles", function()
    assert.equal("Editorial", get(box, "/metadata_profiles").json[1].name)
  end)

  describe("ETags", function()
    for _, path in ipairs { "/me", "/images?limit=3", "/sets/tree", "/facets" } do
      it("spare an unchanged " .. path, function()
        local etag = get(box, path).headers.etag
        local again = get(box, path, { ["If-None-Match"] = etag })
        assert.same({ 304, etag }, { again.status, again.headers.etag })
        assert.same({}, { again.body, again.headers["content-length"] })
        assert.equal(200, get(box, path, { ["If-None-Match"] = '"other"' }).status)
      end)
    end

    it("can be switched off", function()
      box:set { etag = false }
      assert.is_nil(get(box, "/me").headers.etag)
    end)
  end)

  describe("writes", function()
    local path, keys = nil, 0

    local function patch(body, key)
      return call(box, "PATCH", path, { token = box.token, key = key, body = body })
    end

    local function fresh_key()
      keys = keys + 1
      return "key-" .. keys
    end

    local function title() return get(box, path).json.title end

    before_each(function() path = "/images/" .. get(box, "/images?limit=1&offset=7").json[1].public_uuid end)

    it("are Operations that take their polls and then have happened", function()
      local etag = get(box, path).headers.etag
      local response = patch({ title = "Sound check" }, fresh_key())
      assert.same({ 202, "queued", "update" }, { response.status, response.json.status, response.json.type })
      assert.equal("/v1/operations/" .. response.json.uuid, response.headers.location)
      assert.not_equal("Sound check", title())
      local where = "/operations/" .. response.json.uuid
      assert.same({ "running", "succeeded" }, { get(box, where).json.status, get(box, where).json.status })
      assert.equal("Sound check", title())
      assert.equal(200, get(box, path, { ["If-None-Match"] = etag }).status)
      assert.equal("Updated successfully.", get(box, where).json.result.message)
    end)

    it("succeed at once where that is asked for, and show in lists", function()
      box:set { operation_polls = 0 }
      local body = { title = "Encore!", rotation = 90, description = json.null }
      assert.equal("succeeded", patch(body, fresh_key()).json.status)
      local image = get(box, "/images?limit=1&offset=7").json[1]
      assert.same({ "Encore!", 90, json.null }, { image.title, image.rotation, image.description })
      assert.truthy(get(box, path).body:find('"rotation":90[,}]'))
    end)

    it("may fail, without a change", function()
      box:set { operation_polls = 1, operation_outcome = "failed" }
      local uuid = patch({ title = "Never" }, fresh_key()).json.uuid
      assert.equal("failed", get(box, "/operations/" .. uuid).json.status)
      assert.not_equal("Never", title())
    end)

    it("may ask for patience between polls", function()
      box:set { operation_retry_after = 3 }
      local response = patch({ title = "Later" }, fresh_key())
      assert.same({ "3", "3", nil }, {
        response.headers["retry-after"], get(box, "/operations/" .. response.json.uuid).headers["retry-after"],
        get(box, "/operations/" .. response.json.uuid).headers["retry-after"],
      })
    end)

    it("answer the original Operation to the same key and body, the work done once", function()
      local key, made = fresh_key(), box:report().operations
      local first, second = patch({ title = "Once" }, key), patch({ title = "Once" }, key)
      assert.same({ 202, first.json.uuid }, { second.status, second.json.uuid })
      assert.equal(made + 1, box:report().operations)
    end)

    it("answer 409 to the same key and another body", function()
      local key = fresh_key()
      patch({ title = "One" }, key)
      local response = patch({ title = "Two" }, key)
      assert.same({ 409, "idempotency_key_conflict" }, { response.status, response.json.error.code })
    end)

    it("leave the key unused when they are refused", function()
      local key = fresh_key()
      assert.equal(400, patch({ title = 5 }, key).status)
      assert.equal(202, patch({ title = "Five" }, key).status)
    end)

    local refused = {
      { "title", ("ö"):rep(192) }, { "rotation", 45 }, { "rotation", "90" }, { "creation_date", "soon" },
      { "rating", 5 }, { "description", 7 },
    }
    for _, case in ipairs(refused) do
      it(("refuse a %s of %s"):format(case[1], tostring(case[2]):sub(1, 8)), function()
        local response = patch({ [case[1]] = case[2] }, fresh_key())
        assert.same({ 400, case[1] }, { response.status, response.json.error.field })
      end)
    end

    it("count a title in characters", function()
      assert.equal(202, patch({ title = ("ö"):rep(191) }, fresh_key()).status)
    end)

    it("run in a batch, all or nothing", function()
      box:set { operation_polls = 0 }
      local made = box:report().operations
      local function batch(one, two)
        local function item(text) return { method = "PATCH", path = "/v1" .. path, body = { title = text } } end
        return call(box, "POST", "/operations/batch",
          { token = box.token, key = fresh_key(), body = { operations = { item(one), item(two) } } })
      end
      assert.equal(400, batch("Good", 7).status)
      assert.equal(made, box:report().operations)
      local response = batch("Good", "Better")
      assert.same({ 202, 2, 2 }, { response.status, response.json.summary.succeeded, #response.json.operations })
      assert.equal("Better", title())
    end)
  end)

  it("limits calls by token", function()
    box:set { rate_limit = { 2, 10 } }
    local token = box:mint()
    local function status() return call(box, "GET", "/me", { token = token }).status end
    assert.same({ 200, 200, 429 }, { status(), status(), status() })
    assert.equal(200, call(box, "GET", "/me", { token = box:mint() }).status)
    box:advance(10)
    assert.equal(200, status())
  end)

  describe("near variants", function()
    local function exchanged(variants)
      box:set { variants = variants }
      return exchange(box, refresh_token_of(box, "jane"), box.accounts[1]).json
    end

    it("name the token `token`", function()
      local answer = exchanged { token = "token" }
      assert.same({ "string", "nil" }, { type(answer.token), type(answer.access_token) })
    end)

    it("tell the expiry as Unix time, as ISO 8601, or not at all", function()
      local expected = box:now() + 900
      local unix = exchanged { expiry = "unix" }
      assert.is_true(math.abs(unix.expires_at - expected) < 10)
      local iso = exchanged { expiry = "iso" }
      assert.is_true(math.abs(dates.parse(iso.expires_at) - expected) < 10)
      assert.same({}, { unix.expires_in, iso.expires_in, exchanged({ expiry = "none" }).expires_in })
    end)

    for _, name in ipairs { "data", "items" } do
      it("put lists under " .. name, function()
        box:set { variants = { list = name } }
        assert.equal(3, #get(box, "/images?limit=3").json[name])
      end)
    end

    it("wrap an Operation and write numbers as strings", function()
      box:set { variants = { operation = "operation", numbers = "strings" } }
      local image = get(box, "/images?limit=1").json[1]
      assert.is_string(image.rating)
      local options = { token = box.token, key = "variant-1", body = { rotation = 180 } }
      assert.equal("queued", call(box, "PATCH", "/images/" .. image.public_uuid, options).json.operation.status)
    end)
  end)
end)
