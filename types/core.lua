---@meta dpg.core
-- luacheck: no unused
-- The C core as Lua sees it (csrc/binding). Only lua/dpg/ uses it: hub, call, connection, store, json. Times are
-- seconds, but for engine:wait. `err` is a plain table of an error's fields, which dpg.errors makes an object.

---@class dpg.core
---@field version string
---@field null lightuserdata  JSON's null
---@field array_mt table  the metatable of empty JSON arrays
local core = {}

---@param options? table  user_agent, ca_file, proxy (false: none), max_connections, http2, retry_budget, events
---@return dpg.core.Engine? engine
---@return table? err
function core.engine(options) end

---@param engine dpg.core.Engine
---@param base_url string
---@param token string
---@return dpg.core.Credential? credential
---@return table? err
function core.service(engine, base_url, token) end

---@param engine dpg.core.Engine
---@param base_url string
---@param store dpg.core.Store
---@param options? { replay?: boolean }
---@return dpg.core.Credential? credential  the same for the same base_url and store
---@return table? err
function core.person(engine, base_url, store, options) end

---@return dpg.core.Store? store
---@return table? err
function core.memory_store() end

---@param path string
---@param plain? boolean  what it keeps need not be a record of the core's
---@return dpg.core.Store? store
---@return table? err
function core.file_store(path, plain) end

---@param identity string  equal for two that keep the very same record
---@param lease boolean  its lock runs out by itself
---@return dpg.core.Store? store
---@return table? err
function core.host_store(identity, lease) end

---@param type "fd"|"socket"
---@return dpg.core.Wake? wake
---@return table? err
function core.wake(type) end

---A lock that the system holds for this process, until it is closed or the process ends.
---@param path string  of a file, which is made when it is missing; who has the lock may remove it
---@return dpg.core.Lock? lock
---@return string? pid  of who has it, for people; "" where that isn't known
---@return string? problem  why it can't be had
function core.lock(path) end

---@param n integer  1 to 1024
---@return string
function core.random_bytes(n) end

---@return number seconds  on a clock for short spans, which nobody sets; only differences mean anything
function core.now() end

---The path as Lua's `io` and `os` take it: another one on Windows, where paths are UTF-8 for us, and in the code page
---of the system for them.
---@param path string
---@return string
function core.io_path(path) end

---@param path string
---@return "file"|"folder"|"other"|nil kind  "other": a pipe, a device; nil: it isn't there. Never waits
function core.kind(path) end

---@return number  another one in a child made by fork
function core.process() end

---@param bytes string
---@param before? string  what it gave for the bytes that came earlier; nil: these are the first
---@return string fingerprint  tells contents apart; not for secrets
function core.fingerprint(bytes, before) end

---@param list any[]
---@param metatable table  for each table of the list that has none, and a string under `name`
---@param name string
function core.dress(list, metatable, name) end

---@param spec table  as engine:start() takes it, without url, credential, body, parts and sink; copied
---@return dpg.core.Prepared  what many calls are made of
function core.spec(spec) end

---@class dpg.core.Prepared

---@param text string
---@param null? any  instead of core.null
---@param wanted? table  { name = true or such a table, … }: objects have only these members; arrays are looked through,
---  and a table that holds itself says "the same again"
---@param lists? string[]  in an object, `wanted` counts for the members of these names alone
---@return any value  nil when the text is no JSON
---@return string? problem
---@return integer? at  byte
function core.decode(text, null, wanted, lists) end

---@class dpg.core.Engine
local engine = {}

---@class dpg.core.Part  one of value, path and fed
---@field name string
---@field value? string
---@field path? string  a file; it must have `size` bytes
---@field fed? boolean  `size` bytes come through engine:feed()
---@field size? integer
---@field filename? string
---@field content_type? string

---@class dpg.core.Sink  either a file or chunks
---@field file? string
---@field offset? integer  how much of it is there already
---@field expected? integer  the whole length
---@field rename? string  its name once it is whole and durable
---@field etag? string  the strong ETag of what is there
---@field note? string  what it is: for the note beside it, `file`.json, from the head of a 200 until it is whole
---@field chunks? integer  the window: so many bytes wait at most to be read

---@param spec table  method, url (without: a timer), headers, body, parts (a list of dpg.core.Part, instead of it),
---  sink (a dpg.core.Sink), credential, account, gate, repeats ("always", "unsent" or "unfinished"), attempts, base,
---  cap, timeout, idle (seconds that nothing may move, instead of a timeout), deadline (false: none), timer,
---  max_response_bytes
---@return integer? id
---@return table? err
---@overload fun(self: dpg.core.Engine, prepared: dpg.core.Prepared, credential?: dpg.core.Credential, url: string,
---  body?: string, ...: string?): integer?, table?  behind the body up to four headers: name, value, name …; there is
---  none where the value is nil
function engine:start(spec) end

---@param ms number  milliseconds; 0 turns it once
---@return boolean? ok
---@return table? err
function engine:wait(ms) end

---@return "done"|"want"|"data"|"event"|"store"|nil kind  want: the call waits to be fed; data: it has something to be
---  read; store: one of core.host_store is asked: { ask, op, identity, owner, ttl, bytes, expected, reserve }
---@return integer|string|table|nil id_name_or_request
---@return table? fields
function engine:next() end

---next() tells again of what was told and perhaps not heard: ends that were not taken, streams that were not moved since.
function engine:tell_again() end

---The answer of a store that the host keeps. One that nobody waits for any more is dropped.
---@param ask integer
---@param outcome "done"|"busy"|"changed"|"failed"
---@param value? any  done: what is stored, of a load; busy: seconds; failed: a message
---@param extra? string  busy: the holder; failed: a code
---@return true? ok
---@return table? err
function engine:answer(ask, outcome, value, extra) end

---@return boolean  a lock of a store that the host keeps is held, and the program is kept waiting for it
function engine:is_holding() end

---The beginning of the end, where the host keeps stores: calls are cancelled, and it turns until something is to be
---answered or `ms` have passed.
---@param ms number
---@return boolean  a refresh token is still on its way: answer, and come again; then close
function engine:finish(ms) end

---@class dpg.core.As  how an answer is handed out
---@field answer? table<string, string>  these headers become fields of `info`, each under the name that it has here
---@field headers? string[]  and of the others these become the table of headers
---@field wanted? table  as core.decode() takes it; so with `lists`
---@field lists? string[]

---@param id integer
---@param as? dpg.core.As  read the body of a 2xx as JSON
---@return integer? status
---@return table? headers_or_err
---@return string? body  nil: it has become `value`
---@return { attempts: integer, sent?: integer, retry_after?: number }? info
---@return any value
function engine:take(id, as) end

---@param id integer
---@param bytes string
---@return integer? taken  how many of them; when fewer than given, a "want" comes for the rest
---@return table? err
function engine:feed(id, bytes) end

---@param id integer
---@param most? integer  bytes (65536)
---@return "bytes"|"later"|"end"|nil state  later: a "data" comes; end: take the call
---@return string|table|nil data_or_err
function engine:read(id, most) end

---@param id integer  of a call into a file or in chunks
---@return integer? status  nil until a good answer has begun; there also when the rest of it was cut
---@return table? headers_or_err
function engine:head(id) end

---@param id integer
---@return integer? sent  bytes of bodies; nil when there is no such call
---@return integer? to_send  nil when not known, here and below
---@return integer? received
---@return integer? to_receive
function engine:progress(id) end

---@param id integer
function engine:cancel(id) end

---@param id integer
function engine:abandon(id) end

---@return table? counts  calls, transfers, timers, notes, untaken, credentials, retries, sent; nil when closed
function engine:counts() end

---@param grace? number  seconds that an exchange which has left is given (5)
function engine:close(grace) end

---Hands the engine to a thread of its own, for good: nothing but wait() and close() then ever waits. `wake` is raised
---when something is in the outbox; again with another one replaces it.
---@param wake? dpg.core.Wake
---@return true? ok
---@return table? err
function engine:thread(wake) end

---@return boolean
function engine:is_threaded() end

---Are events told from now on? An engine made without `events` tells none until then.
---@param events boolean
function engine:listen(events) end

---@return boolean  false in a process made by fork after the engine, and when it is closed
function engine:is_mine() end

---@return number seconds  only differences mean anything
function engine:now() end

---What wakes a host that waits elsewhere. Lowered before the outboxes are drained, so that nothing is missed.
---@class dpg.core.Wake
local wake = {}

---@return integer? descriptor  readable while raised, to be polled and no more; nil for a socket
function wake:fd() end

---@return string? path  of a unix socket for this process; each connection gets a byte when it is raised; nil for an fd
function wake:path() end

function wake:raise() end
function wake:lower() end
function wake:close() end

---A store as the core has it. One that is kept in C has the operations of a dpg.LuaStore.
---@class dpg.core.Lock
local lock = {}

---Twice is fine.
function lock:close() end

---@class dpg.core.Store
local store = {}

---@param owner string
---@param ttl number  it does not run out
---@return boolean? is_ours
---@return number|table|nil again_or_err  seconds
---@return string? holder
function store:lock(owner, ttl) end

---@return string? bytes
---@return table? err
function store:load() end

---@param bytes string
---@param expected? string
---@param reserve? boolean  another save follows soon, and must find room
---@return boolean? is_saved
---@return table? err
function store:save(bytes, expected, reserve) end

---@param owner string
---@return boolean? ok
---@return table? err
function store:unlock(owner) end

---@class dpg.core.Credential
local credential = {}

---@param deadline? number|false  seconds (120); false: none
---@return integer? id
---@return table? err
function credential:load(deadline) end

---@param spec table
---@return integer? id
---@return table? err
function credential:sign_in(spec) end

---@param deadline? number|false  seconds (120); false: none
---@return integer? id
---@return table? err
function credential:forget(deadline) end

---@return table? info  number, person, state, reason, generation, rotations, accounts, user; nil when closed
function credential:info() end

return core
