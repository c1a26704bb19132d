---@meta
-- The shapes that dpg takes and gives, for LuaLS. Behaviour is in lua/dpg/; what the fields mean on the wire is the
-- API's documentation. Unknown fields of what the server sends are kept, here and in the objects.

-- --- configuration: call beats session beats default --------------------------------------------------------------

---@class dpg.Retry
---@field attempts? integer  how often a request is sent at most (6)
---@field base? number  seconds: the first back-off is drawn from 0 to this (0.2)
---@field cap? number  seconds: the longest back-off (20)
---@field budget? number|false  retries in store for each origin (100), false: no limit; said where the session is made

---What one call can be told, and a session for all its calls.
---@class dpg.CallOptions
---@field timeout? number|false  seconds for one attempt (30)
---@field deadline? number|false  seconds for the whole call, waits included (120)
---@field retry? dpg.Retry|false
---@field on_event? fun(name: dpg.EventName, event: dpg.Event)  for logs and metrics; may not make calls. What becomes
---  of a person's tokens (rotated, adopted, storage, signed_out) is told to the one of dpg.sign_in or dpg.resume alone
---@field max_response_bytes? integer  64 MiB

---@class dpg.ReadOptions: dpg.CallOptions
---@field if_none_match? string  an ETag: unchanged is nil, err with code "not_modified"

---@class dpg.WriteOptions: dpg.CallOptions
---@field idempotency_key? string|fun(): string  by default a new UUID for each call

---Of a list. Its walk (`each`) takes the same, but for `if_none_match`.
---@class dpg.ListOptions: dpg.ReadOptions
---@field limit? integer  items a page, 1 to 200
---@field offset? integer

---@class dpg.KeywordListOptions: dpg.ListOptions
---@field namespace? string
---@field query? string

---@class dpg.SetListOptions: dpg.ListOptions
---@field parent_public_uuid? string  its children; without: the top level

---@class dpg.ImageFilters: dpg.ReadOptions
---@field query? string  full text: `+must -not "a phrase" wild*`
---@field keyword? string|string[]
---@field namespace? string
---@field rating? integer  0 to 5
---@field min_rating? integer  0 to 5
---@field exif_property? string
---@field exif_value? string
---@field created_at_from? string|number  a date as text, or Unix seconds
---@field created_at_to? string|number
---@field updated_at_from? string|number
---@field updated_at_to? string|number
---@field creation_date_from? string|number
---@field creation_date_to? string|number
---@field has_video? boolean
---@field has_geo? boolean
---@field bbox? string|number[]  west, south, east, north

---@class dpg.ImageListOptions: dpg.ImageFilters, dpg.ListOptions

---@class dpg.RequestOptions: dpg.CallOptions
---@field query? table<string, string|number|boolean|table>
---@field body? table|string  a table is sent as JSON
---@field headers? table<string, string>
---@field idempotency_key? string|fun(): string  of a write
---@field if_none_match? string  of a read

---@class dpg.Config: dpg.CallOptions
---@field base_url? string  ends in /v1; plain http to this machine only
---@field ca_file? string  certificates to trust instead of the system's
---@field proxy? string|false  instead of the environment's; false: none
---@field user_agent? string
---@field max_connections? integer  16
---@field http2? boolean  true
---@field host? "blocking"
---@field idempotency_key? fun(): string  for a whole session a function only: each write has a key of its own

---@class dpg.ServiceOptions: dpg.Config
---@field token string

---@class dpg.ResumeOptions: dpg.Config
---@field store dpg.Store
---@field replay? boolean  false: an exchange whose answer was lost ends the session (true)

---@class dpg.SignInOptions: dpg.ResumeOptions
---@field login string
---@field password string
---@field device dpg.Device
---@field mfa? fun(try: integer, err: dpg.Error): string?  asked for the code when two-factor is on; nil gives up

---@class dpg.Device
---@field identifier string  stays the same on this device
---@field name string
---@field platform string

-- --- results ------------------------------------------------------------------------------------------------------

---What the second result tells of the answer.
---@class dpg.Answer
---@field status integer
---@field etag? string
---@field request_id? string
---@field attempts integer
---@field retry_after? number  seconds
---@field idempotency_key? string

---@alias dpg.ErrorKind "usage"|"network"|"timeout"|"tls"|"protocol"|"api"|"auth"|"operation"|"cancelled"|"storage"

---@class dpg.Error
---@field kind dpg.ErrorKind
---@field code string  DPG's own where it gave one, else ours
---@field message string
---@field detail? string
---@field field? string
---@field status? integer
---@field request_id? string
---@field retry_after? number  seconds
---@field attempts? integer
---@field idempotency_key? string
---@field method? string
---@field path? string  behind the base URL, without query
---@field reason? string
---@field scope? string  what a 403 says is missing
---@field challenge? dpg.Challenge  code "mfa_required", or a wrong code
---@field operation? dpg.Operation  kind "operation", or code "operation_timeout"
---@field operation_uuid? string

---@alias dpg.EventName "start"|"response"|"retry"|"rotated"|"adopted"|"gate_closed"|"gate_open"|"storage"|"signed_out"

---@class dpg.Event
---@field id? integer  the call's number; nil for what concerns no single call
---@field credential? integer  which credential of the engine's, by number
---@field attempt? integer
---@field status? integer
---@field wait? number  seconds
---@field elapsed? number  seconds
---@field generation? integer  of a person's tokens
---@field code? string
---@field message? string
---@field method? string
---@field path? string

---@class dpg.Page
---@field items table[]
---@field has_more boolean
---@field next_offset? integer

---@class dpg.Iterator
---@overload fun(): any
---@field next fun(self: dpg.Iterator): any?, dpg.Error?
---@field close fun(self: dpg.Iterator)

---@class dpg.Me
---@field account dpg.Account
---@field service_token? { uuid: string, name: string }
---@field user? { uuid: string, name: string, login: string }
---@field capabilities string[]

---@class dpg.Account
---@field uuid string
---@field name string
---@field unique_id string

---@class dpg.Image
---@field public_uuid string
---@field title string
---@field description? string
---@field creation_date? string
---@field rating? integer
---@field keywords table[]
---@field versions table[]

---@class dpg.ImageFields
---@field title? string  at most 191 characters
---@field description? string
---@field creation_date? string|number
---@field rotation? 0|90|180|270

---@class dpg.Operation
---@field uuid string
---@field status string
---@field type? string
---@field image_public_uuids? string[]
---@field result? any
