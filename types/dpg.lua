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
---@field retry? dpg.Retry|false  false: each request is sent once
---@field on_event? fun(name: dpg.EventName, event: dpg.Event)  for logs and metrics; may not make calls. What becomes
---  of a person's tokens (rotated, adopted, storage, signed_out) is told to the one of dpg.sign_in or dpg.resume alone
---@field max_response_bytes? integer  64 MiB

---@class dpg.ReadOptions: dpg.CallOptions
---@field if_none_match? string  an ETag: unchanged is nil, err with code "not_modified"

---Of what is read whole or in part.
---@class dpg.GetOptions: dpg.ReadOptions
---@field fields? string[]  only these become tables, several times faster: "title", "versions.url"; ids always do

---@class dpg.WriteOptions: dpg.CallOptions
---@field idempotency_key? string|fun(): string  by default a new UUID for each call

---Of a page of a list.
---@class dpg.ListOptions: dpg.GetOptions
---@field limit? integer  items a page, 1 to 200 (50)
---@field offset? integer  where the page begins (0)

---Of the walk through a whole list (`each`).
---@class dpg.WalkOptions: dpg.CallOptions
---@field fields? string[]  only these become tables, several times faster: "title", "versions.url"; ids always do
---@field limit? integer  items a page, 1 to 200 (200)
---@field offset? integer  where it begins
---@field prefetch? boolean  the next page is fetched while this one is walked (true); false where the walk's own items are changed

---@class dpg.KeywordFilters
---@field namespace? string  keywords of this axis
---@field query? string  a part of the keyword

---@class dpg.KeywordListOptions: dpg.ListOptions, dpg.KeywordFilters

---@class dpg.KeywordWalkOptions: dpg.WalkOptions, dpg.KeywordFilters

---@class dpg.SetFilters
---@field parent_public_uuid? string  its children; without: the top level

---@class dpg.SetListOptions: dpg.ListOptions, dpg.SetFilters

---@class dpg.SetWalkOptions: dpg.WalkOptions, dpg.SetFilters

---@class dpg.ImageFilters
---@field query? string  full text: `+must -not "a phrase" wild*`
---@field keyword? string|string[]  "value" or "axis:value"; several: images that match all
---@field namespace? string  images with a keyword of this axis
---@field rating? integer  0 to 5
---@field min_rating? integer  0 to 5
---@field exif_property? string  the name of a property of the camera's: "Model"
---@field exif_value? string  what that property is
---@field created_at_from? string|number  a date as text, or Unix seconds
---@field created_at_to? string|number  before this
---@field updated_at_from? string|number  changed at this time or later
---@field updated_at_to? string|number  changed before this
---@field creation_date_from? string|number  taken at this time or later
---@field creation_date_to? string|number  taken before this
---@field has_video? boolean  with a video, or without
---@field has_geo? boolean  with a place, or without
---@field bbox? string|number[]  west, south, east, north

---@class dpg.ImageListOptions: dpg.ListOptions, dpg.ImageFilters

---@class dpg.ImageWalkOptions: dpg.WalkOptions, dpg.ImageFilters

---@class dpg.FacetOptions: dpg.GetOptions, dpg.ImageFilters

---@class dpg.LinkOptions: dpg.WriteOptions
---@field version? string  without: the largest that is served

---What everything takes that moves a file.
---@class dpg.TransferOptions
---@field on_progress? fun(done: integer, total?: integer)  bytes; at most 20 times a second, and at the end
---@field timeout? number|false  seconds without a byte (60)
---@field deadline? number|false  seconds for all of it, waits included (none)
---@field retry? dpg.Retry|false  attempts are counted anew whenever bytes have come
---@field on_event? fun(name: dpg.EventName, event: dpg.Event)

---@class dpg.UploadOptions: dpg.TransferOptions
---@field idempotency_key? string|fun(): string  of the first ticket

---@class dpg.SaveOptions: dpg.TransferOptions
---@field overwrite? boolean  replace a file that is there (false: that is an error, code "exists")

---@class dpg.DownloadOptions: dpg.SaveOptions
---@field version? string  without: the largest that is served

---@class dpg.DownloadReadOptions: dpg.TransferOptions
---@field version? string  without: the largest that is served
---@field max_response_bytes? integer  64 MiB

---@class dpg.ChunkOptions: dpg.TransferOptions
---@field version? string  without: the largest that is served
---@field window? integer  bytes that wait at most to be read (1 MiB)

---@class dpg.ManyOptions: dpg.TransferOptions
---@field concurrency? integer  files at a time (4)
---@field journal? string  a path: what a run that was killed goes on with; one run at a time
---@field on_file? fun(result: dpg.FileResult)  each, as it ends

---With `on_progress(sent, total, file)`.
---@class dpg.SendManyOptions: dpg.ManyOptions
---@field fields? dpg.UploadFields  of all files; an item's own go over them
---@field resend_unknown? boolean|fun(item: any, err: dpg.Error): boolean?  send a file whose outcome is unknown (false)

---With `on_progress(received, total, public_uuid)`.
---@class dpg.SaveManyOptions: dpg.ManyOptions
---@field version? string  without: the largest that is served
---@field overwrite? boolean  replace files that are there (false)
---@field path? fun(item: any): string?  a path, or a folder, for one of them

---@class dpg.BatchAllOptions: dpg.WriteOptions
---@field size? integer  writes in a batch, 1 to 50 (50)
---@field wait? number|false  seconds for each Operation to end (120); false: doesn't wait

---Of dpg.loop.
---@class dpg.LoopOptions
---@field on_error? fun(problem: any, traceback?: string)  told of what a task raised that nobody awaits; without it,
---  loop:step() raises that

---@class dpg.RequestOptions: dpg.CallOptions
---@field query? table<string, string|number|boolean|table>  names and values, encoded by dpg; a list stands there once for each
---@field body? table|string  a table is sent as JSON
---@field headers? table<string, string>  beside those that dpg sets itself
---@field idempotency_key? string|fun(): string  of a write
---@field if_none_match? string  of a read

---@class dpg.Config: dpg.CallOptions
---@field base_url? string  ends in /v1; plain http to this machine only
---@field ca_file? string  certificates to trust instead of the system's
---@field proxy? string|false  instead of the environment's; false: none
---@field user_agent? string  instead of ours: printable text
---@field max_connections? integer  16
---@field prefetch? boolean  walks ask for the next page while one is being walked over (true)
---@field http2? boolean  true
---@field cache? dpg.Cache  makes repeated reads conditional: dpg.cache.memory { entries = 256, bytes = 16 MiB }
---@field idempotency_key? fun(): string  for a whole session a function only: each write has a key of its own

---@class dpg.ServiceOptions: dpg.Config
---@field token string|nil  without one dpg.service gives nil and an error: os.getenv "DPG_TOKEN" may be handed in

---@class dpg.ResumeOptions: dpg.Config
---@field store dpg.Store|dpg.LuaStore  where the session is kept
---@field replay? boolean  false: an exchange whose answer was lost ends the session (true)

---@class dpg.SignInOptions: dpg.ResumeOptions
---@field login string  as when signing in to the gallery
---@field password string  is sent, and kept nowhere
---@field device dpg.Device  which device this is
---@field mfa? fun(try: integer, err: dpg.Error): string?  asked for the code when two-factor is on; nil gives up

---A store written in Lua, ours or a program's own: where one person's record is kept (doc/stores.md). Each function may
---instead return nil and an error (a string, or a table of kind "storage"), or raise.
---@class dpg.LuaStore
---@field lock fun(self, owner: string, ttl: number): boolean, number?, string?  true; or false, the seconds after which
---  to ask again, and who holds it. Never waits. The same owner again: `ttl` seconds from now
---@field load fun(self): string?  the bytes that were saved last, or nil
---@field save fun(self, bytes: string, expected?: string): boolean  false: `expected` is not what is stored
---@field unlock fun(self, owner: string): true  that of another owner stays
---@field identity? string  two stores that have the same one keep the same record
---@field lease? boolean  false: the lock does not run out, but dies with its holder

---@class dpg.RedisOptions
---@field key string  where the record lies; the lock lies beside it
---@field connect fun(): any, string?  a client that is connected: nginx.redis, resty.redis, lua-redis, or an object
---  with `call(self, command, ...)`; or nil and why. Asked for each operation, after which it is closed, or kept alive

---@class dpg.Device
---@field identifier string  stays the same on this device
---@field name string  for people
---@field platform string  "linux", "macos", "windows" …

-- --- results ------------------------------------------------------------------------------------------------------

---What the second result tells of the answer.
---@class dpg.Answer
---@field status integer  200, 202 …
---@field etag? string  for `if_none_match`
---@field request_id? string  DPG's support asks for it
---@field attempts integer  how often it was sent
---@field retry_after? number  seconds
---@field idempotency_key? string  of a write
---@field date? string  when the server answered, by its clock (RFC 9110 section 5.6.7)
---@field cached? boolean  true: the server said that it has not changed, and the body is from the session's cache

---The second result of a call: of its answer, or what went wrong.
---@alias dpg.Told dpg.Answer|dpg.Error

---@alias dpg.ErrorKind "usage"|"network"|"timeout"|"tls"|"protocol"|"api"|"auth"|"operation"|"cancelled"|"storage"

---Codes that we know of (doc/errors.md); DPG may give others, and an answer without one has `http_` and its status.
---@alias dpg.ErrorCode
---| "account"
---| "another_host"
---| "answer_cut"
---| "api_not_enabled"
---| "archive_gone"
---| "bad_gateway"
---| "bad_http"
---| "bad_request"
---| "base_url"
---| "busy"
---| "ca_file_invalid"
---| "ca_file_unreadable"
---| "cancelled"
---| "cannot_wait_here"
---| "certificate_invalid"
---| "challenge_closed"
---| "closed"
---| "conflict"
---| "connect_failed"
---| "connection_lost"
---| "deadline"
---| "deadlock"
---| "disk_failed"
---| "disk_full"
---| "duplicate_file"
---| "empty_file"
---| "engine_closed"
---| "exists"
---| "file_changed"
---| "file_denied"
---| "file_missing"
---| "file_unreadable"
---| "forbidden"
---| "foreign_coroutine"
---| "gateway_timeout"
---| "header"
---| "headers_too_large"
---| "http_error"
---| "idempotency_key_conflict"
---| "image_not_found"
---| "insecure_url"
---| "inside_on_event"
---| "invalid_header"
---| "invalid_method"
---| "invalid_option"
---| "invalid_url"
---| "invalid_value"
---| "journal_unreadable"
---| "journal_unwritable"
---| "lease_over"
---| "length_mismatch"
---| "libcurl_refused"
---| "method"
---| "method_not_allowed"
---| "mfa_required"
---| "missing_value"
---| "no_random"
---| "no_thread"
---| "no_wake"
---| "not_a_journal"
---| "not_a_person"
---| "not_found"
---| "not_modified"
---| "not_ready"
---| "nothing_to_do"
---| "operation_failed"
---| "operation_timeout"
---| "other_engine"
---| "other_origin"
---| "out_of_memory"
---| "part"
---| "payload_too_large"
---| "precondition_failed"
---| "proxy_refused"
---| "range_mismatch"
---| "rate_limited"
---| "reader_failed"
---| "reader_long"
---| "reader_short"
---| "redirect"
---| "resolve_failed"
---| "response_too_large"
---| "server_error"
---| "sign_in_required"
---| "sink"
---| "stalled"
---| "store_busy"
---| "store_changed"
---| "store_damaged"
---| "store_denied"
---| "store_failed"
---| "store_folder_writable_by_others"
---| "store_full"
---| "store_identity"
---| "store_io"
---| "store_missing"
---| "store_moved"
---| "store_newer"
---| "store_no_answer"
---| "store_no_key"
---| "store_not_a_file"
---| "store_not_a_folder"
---| "store_not_a_record"
---| "store_not_locked"
---| "store_not_ours"
---| "store_not_sealed"
---| "store_other_origin"
---| "store_other_process"
---| "store_path"
---| "store_protocol"
---| "store_read_only"
---| "store_symlink"
---| "store_too_large"
---| "store_unavailable"
---| "store_unreachable"
---| "store_wrong_key"
---| "timeout"
---| "tls_failed"
---| "token"
---| "too_many_bytes"
---| "transfer_failed"
---| "unauthorized"
---| "unavailable"
---| "unknown_account"
---| "unknown_call"
---| "unprocessable"
---| "unreadable"
---| "unreadable_answer"
---| "unsafe_link"
---| "unsupported"
---| "unsupported_media_type"
---| "upload_outcome_unknown"
---| "url"
---| "validation"

---@class dpg.Error
---@field kind dpg.ErrorKind  whose business it is
---@field code dpg.ErrorCode|string  DPG's own where it gave one, else ours
---@field message string  what happened, why, and what to do; for people, not to branch on
---@field detail? string  more of that, where there is more
---@field field? string  the field or option that is meant
---@field status? integer  of the answer
---@field request_id? string  of the answer: DPG's support asks for it
---@field retry_after? number  seconds
---@field attempts? integer  how often it was sent
---@field idempotency_key? string  of a write: a later run that gives it goes on with the same write
---@field method? string  of the request
---@field path? string  behind the base URL, without query
---@field reason? string  why a session ended, what an unknown outcome came of, or "not_tried": another file's trouble
---@field scope? string  what a 403 says is missing
---@field challenge? dpg.Challenge  code "mfa_required", or a wrong code
---@field operation? dpg.Operation  kind "operation", or code "operation_timeout"
---@field operation_uuid? string  of that Operation

---@alias dpg.EventName "start"|"response"|"retry"|"rotated"|"adopted"|"gate_closed"|"gate_open"|"storage"|"signed_out"

---@class dpg.Event
---@field id? integer  the call's number; nil for what concerns no single call
---@field credential? integer  which credential of the engine's, by number
---@field attempt? integer  which one, from 1
---@field status? integer  of the answer
---@field wait? number  seconds
---@field elapsed? number  seconds
---@field generation? integer  of a person's tokens
---@field code? string  what went wrong
---@field message? string  the same in words
---@field method? string  of the request
---@field path? string  of the request, behind the base URL

---@class dpg.Page
---@field items table[]  in the order of the server
---@field has_more boolean  is there a page behind this one?
---@field next_offset? integer  where that begins: the `offset` to ask for

---@class dpg.Iterator
---@overload fun(): any
---@field next fun(self: dpg.Iterator): any?, dpg.Error?  nil at the end; after an error it asks for that page again
---@field close fun(self: dpg.Iterator)  ends it, and drops the page asked for ahead; a `for` of Lua 5.4 does so itself

---@class dpg.Me
---@field account dpg.Account  whose library it is
---@field service_token? { uuid: string, name: string }  of a service token
---@field user? { uuid: string, name: string, login: string }  of a person
---@field capabilities string[]  the scopes: what `session:can` looks at

---@class dpg.Account
---@field uuid string  for `user:account`
---@field name string  for people
---@field unique_id string  another name of it, as the server says

---An image as the server sends it, every field kept; its methods stand behind its fields: where the server has a field
---of a method's name, that field is what one gets (session.images has all methods).
---@class dpg.Image
---@field public_uuid string  for `images:get` and the like
---@field title string  for people
---@field description? string  for people
---@field creation_date? string  when it was taken
---@field rating? integer  0 to 5
---@field keywords table[]  each with `value` and `namespace`
---@field versions table[]  each with `url`: of the account's CDN
---@field get fun(self, options?: dpg.GetOptions): dpg.Image?, dpg.Told  everything about it; lists show less
---@field update fun(self, fields: dpg.ImageFields, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  changes its fields
---@field delete fun(self, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  deletes it
---@field set_rating fun(self, rating: integer, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  0 to 5
---@field set_alt_text fun(self, alt_text: string|userdata, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  what stands for it where it can't be seen
---@field set_metadata fun(self, fields: dpg.ImageMetadata, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  IPTC fields
---@field set_crop fun(self, crop: dpg.Crop, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  for one aspect ratio
---@field clear_crop fun(self, crop?: table, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  of one aspect ratio, or all
---@field add_keywords fun(self, keywords: dpg.Keyword[], options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  up to 200
---@field remove_keyword fun(self, keyword: dpg.Keyword, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  one
---@field add_credit fun(self, credit: dpg.Credit, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  who did what
---@field remove_credit fun(self, credit: dpg.Credit, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  one
---@field extract_metadata fun(self, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  reads the file's metadata anew

---Images: their uuids, or they themselves.
---@alias dpg.ImageIds (string|dpg.Image)[]

---A set, with methods in the same way; `add` is add_images, `remove` is remove_images.
---@class dpg.Set
---@field public_uuid string  for `sets:get` and the like
---@field name string  for people
---@field children? dpg.Set[]  in the tree
---@field get fun(self, options?: dpg.GetOptions): dpg.Set?, dpg.Told  everything about it; lists show less
---@field update fun(self, fields: dpg.SetFields, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  changes its fields
---@field images fun(self, options?: dpg.ListOptions): dpg.Page?, dpg.Told  one page of them, in gallery order
---@field each_image fun(self, options?: dpg.WalkOptions): dpg.Iterator  walks them; raises errors
---@field add fun(self, images: dpg.ImageIds, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  add_images
---@field remove fun(self, images: dpg.ImageIds, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  remove_images; they stay in the library
---@field add_images fun(self, images: dpg.ImageIds, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  puts images in
---@field remove_images fun(self, images: dpg.ImageIds, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  takes images out; they stay in the library
---@field order fun(self, images: dpg.ImageIds, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  puts these images to its front, in this order
---@field set_visibility fun(self, fields: dpg.Visibility, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  hides images, or until a moment
---@field snapshots fun(self, options?: dpg.ListOptions): dpg.Page?, dpg.Told  one page of how it was before each rearrangement
---@field restore fun(self, snapshot_uuid?: string, options?: dpg.WriteOptions): dpg.Operation?, dpg.Told  as a snapshot has it; without one: the newest

---What an update can change. dpg.null empties a field.
---@class dpg.ImageFields
---@field title? string  at most 191 characters
---@field description? string|userdata  dpg.null empties it
---@field creation_date? string|number  any date as text, or Unix seconds
---@field rotation? 0|90|180|270  degrees

---IPTC fields; any other name goes to the API as it is.
---@class dpg.ImageMetadata
---@field creator? string|userdata  who took it
---@field copyright_notice? string|userdata  whose it is
---@field copyright_marked? boolean|userdata  is it under copyright?

---Whole pixels.
---@class dpg.Crop
---@field aspect_ratio string  "3:2"
---@field x integer  from the left
---@field y integer  from the top
---@field width integer  of the part that stays
---@field height integer  of the part that stays

---"value", "axis:value", or both apart.
---@alias dpg.Keyword string|{ namespace?: string, value: string }

---@class dpg.KeywordRename
---@field from dpg.Keyword  as it is
---@field to dpg.Keyword  as it shall be
---@field image_public_uuids dpg.ImageIds  on these images

---@class dpg.Credit
---@field role string  "photographer" and the like
---@field name string  of a person

---@class dpg.NewSet
---@field name string  for people
---@field parent_public_uuid? string|userdata  the set that it lies in; without: the top level
---@field colour? string|userdata  one of the API's
---@field description? string|userdata  for people
---@field type? string  one of the API's

---@class dpg.SetFields
---@field name? string  for people
---@field colour? string|userdata  one of the API's
---@field description? string|userdata  dpg.null empties it
---@field lead_image_public_uuid? string|userdata  the image that stands for the set
---@field parent_public_uuid? string|userdata  dpg.null: to the top level

---One of `hidden` and `activation_time` is wanted.
---@class dpg.Visibility
---@field image_public_uuids dpg.ImageIds  which images of the set
---@field hidden? boolean  from visitors of the gallery
---@field activation_time? string|number|userdata  Unix seconds, or ISO 8601 with a zone: when embargoed images come out

---What is sent: one of path, bytes and reader.
---@class dpg.SourceTable
---@field path? string  a readable file
---@field bytes? string  the file's bytes
---@field reader? fun(): string?  the next bytes; nil at the end
---@field size? integer  of all that a reader gives
---@field rewind? fun()  makes a reader begin anew; without it, its bytes are sent once
---@field filename? string  of bytes and readers; else the path's
---@field content_type? string  else as the filename's extension has it

---@class dpg.UploadFields
---@field filename? string  else the source's
---@field title? string  at most 191 characters
---@field description? string  for people
---@field keywords? dpg.Keyword[]  as of `images:add_keywords`
---@field creation_date? string|number  when it was taken: a date as text, or Unix seconds
---@field set_public_uuid? string  a set that it goes into
---@field read_metadata? boolean  take caption, keywords and date out of the file

---@class dpg.UploadAnswer: dpg.Answer
---@field image_public_uuid string  of the new image
---@field transaction_uuid? string  DPG's own name for the upload
---@field image_error? dpg.Error  why the image, which is there, could not be read

---@class dpg.DownloadAnswer
---@field status integer  200
---@field length integer  bytes
---@field filename? string  the server's word: not to be trusted as a path
---@field etag? string  of the file
---@field attempts integer  requests that it took
---@field resumed_from? integer  bytes that an earlier call had left

---Pulled bytes; `for bytes in chunks do` raises errors, `chunks:next()` returns them.
---@class dpg.Chunks
---@overload fun(): string?
---@field next fun(self: dpg.Chunks): string?, dpg.Error?  after an error it goes on behind the last bytes
---@field close fun(self: dpg.Chunks)  ends the transfer; twice is fine
---@field length? integer  of the whole file, once it is known
---@field filename? string  the server's word: not to be trusted as a path
---@field etag? string  of the file

---@class dpg.FileResult
---@field file string  a path or an id; the public_uuid of a download
---@field status "sent"|"already"|"unknown"|"saved"|"exists"|"failed"  how it ended
---@field error? dpg.Error  of what failed, or is unknown
---@field image? dpg.Image  of what was sent
---@field image_public_uuid? string  of what was sent
---@field transaction_uuid? string  of what was sent: DPG's own name for it
---@field path? string  of what was saved
---@field answer? table  what the call's second result was
---@field journal_error? dpg.Error  it is done, but could not be written down

---@class dpg.SendReport
---@field files dpg.FileResult[]  in the order of the list
---@field sent integer  how many
---@field already integer  by the journal
---@field unknown integer  how many: nobody knows whether they were taken
---@field failed integer  how many

---@class dpg.SaveReport
---@field files dpg.FileResult[]  in the order of the list
---@field saved integer  how many
---@field already integer  by the journal
---@field exists integer  how many were there, and stay
---@field failed integer  how many

---@class dpg.DownloadLink
---@field url string  without our bearer token: it leads to another host
---@field filename string  the server's word: not to be trusted as a path
---@field access string  as the server says
---@field expires_at number  Unix seconds

---@class dpg.NewArchive
---@field image_public_uuids dpg.ImageIds  what goes into it
---@field version_profile_uuid? string  which versions of the images go into it
---@field filename? string  of the ZIP file

---@class dpg.Batch
---@field summary table  what the server says of all
---@field operations dpg.Operation[]  in the order of the writes

---What has the writes of a session's resources, checked and kept as dpg.Write for operations:batch.
---@class dpg.Prepare
---@field images dpg.Images  `set_rating` and the like
---@field keywords dpg.Keywords  `rename`
---@field sets dpg.Sets  `add_images` and the like
---@field archives dpg.Archives  `create`

---@class dpg.Operation
---@field uuid string  for `operations:get`
---@field status string  "succeeded", "failed", or one that goes on
---@field type? string  what is done
---@field image_public_uuids? string[]  of the images that it is about
---@field result? any  what came of it, as the server says
