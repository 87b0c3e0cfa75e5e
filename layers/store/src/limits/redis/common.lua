-- The algorithm of `State` in microseconds. Numbers are doubles: exact up to 2^53.
local BUCKET, WINDOW, CALENDAR, PLACES = 0, 1, 2, 3
-- As State's: slices that a window remembers, and by whose length it errs.
local SLICES = 64
-- Keys outlive their use a little, in milliseconds.
local SLACK = 10000
local SETTLED = 'x'
-- Milliseconds that a reservation is remembered at most.
local REMEMBERED = 3600000

local now = clock()

local function want(at)
  local first = FIRST + (at - 1) * 9
  local function number(offset) return tonumber(ARGV[first + offset]) end
  return {
    key = KEYS[at + 1], kind = number(0), amount = number(1), cap = number(2), warn = number(3),
    enforce = number(4) == 1, force = number(4) == 2, a = number(5), b = number(6), c = number(7), d = number(8),
    -- What a slice leaves free.
    spare = number(4) == 3 and math.ceil(number(2) / 10) or 0,
  }
end

-- Of a calendar's bounds a, b, c the period that holds `now`; beyond them others of that length.
local function period(w)
  if now < w.b then return w.a, w.b end
  if now < w.c then return w.b, w.c end
  local length = w.c - w.b
  local start = w.b + math.floor((now - w.b) / length) * length
  return start, start + length
end

local load = {}

-- All of them have `full`, once it was told that nothing is left, and `held`, where that is to be told:
-- what of `used` is only reserved. A bucket has `since`, once it was reset: the moment.

-- {kind, used, at, per, capacity}; used is in units of amount * per. a: a microsecond's refill.
load[BUCKET] = function(w, s)
  if not s[2] then s[1], s[2], s[3], s[4], s[5] = BUCKET, 0, now, w.b, w.cap end
  if s[4] ~= w.b or s[5] ~= w.cap then
    s[2], s[4], s[5] = math.ceil(s[2] * ((w.cap * w.b) / (s[5] * s[4]))), w.b, w.cap
  end
  s[2] = math.max(0, s[2] - math.max(0, now - s[3]) * w.a)
  s[3] = math.max(s[3], now)
end

-- {kind, used, then start, last and amount of each slice}. a: the window.
load[WINDOW] = function(w, s)
  if not s[2] then s[1], s[2] = WINDOW, 0 end
  local keep = 3
  while not w.longer and s[keep] and s[keep + 1] + w.a <= now do
    s[2] = math.max(0, s[2] - s[keep + 2])
    keep = keep + 3
  end
  if keep > 3 then
    local length = #s
    for at = 3, length do s[at] = s[at + keep - 3] end
  end
end

-- {kind, used, start, end}. a, b, c: bounds; d: what no period is shorter than.
load[CALENDAR] = function(w, s)
  if not s[2] or now >= s[4] then
    s[1], s[2], s.held = CALENDAR, 0, nil
    s[3], s[4] = period(w)
  elseif now < s[3] - w.d then
    s[3], s[4] = period(w)
  end
end

-- A sorted set of leases by the time when they end, and their sum beside it.
load[PLACES] = function(w, s)
  local gone = redis.call('ZRANGEBYSCORE', w.key, '-inf', now)
  for _, lease in ipairs(gone) do
    redis.call('DECRBY', w.key .. ':n', string.match(lease, '^%d+'))
  end
  if #gone > 0 then redis.call('ZREMRANGEBYSCORE', w.key, '-inf', now) end
  s[1], s[2] = PLACES, math.max(0, tonumber(redis.call('GET', w.key .. ':n') or 0))
end

local function used(w)
  if w.kind == BUCKET then return math.ceil(w.state[2] / w.b) end
  return w.state[2]
end

-- `settles`: for a request of the past, whose window may have become longer since.
local function open(w, settles)
  local s
  if w.kind ~= PLACES then
    local packed = redis.call('GET', w.key)
    s = packed and cmsgpack.unpack(packed)
    if s and s[1] ~= w.kind then s = nil end
  end
  if settles and w.kind == WINDOW then
    w.longer = redis.call('PTTL', w.key) > math.ceil(w.a / 1000) + SLACK
  end
  w.state = s or {}
  load[w.kind](w, w.state)
  if w.state.full and used(w) < w.cap then w.state.full = nil end
end

-- Whether it is to be told now that nothing is left, also of what may come back: once, until something is.
local function fills(w)
  local full, told = w.warn > 0 and used(w) - (w.state.held or 0) >= w.cap, w.state.full
  if full then w.state.full = true end
  return full and not told
end

-- So much more is reserved, or less. What an instance that died had reserved goes with what it counts in.
local function reserve(w, amount)
  local held = math.max(0, math.min(used(w), (w.state.held or 0) + amount))
  w.state.held = w.warn > 0 and held > 0 and held or nil
end

local function warns(w)
  if w.kind == BUCKET then return w.warn > 0 and w.state[2] >= w.warn * w.b end
  return w.warn > 0 and w.state[2] >= w.warn
end

-- Microseconds until there is room; -1: nobody knows.
local function wait(w)
  local s, amount = w.state, w.amount + w.spare
  if w.kind == BUCKET then
    local missing = amount * w.b + s[2] - w.cap * w.b
    return missing <= 0 and 0 or math.ceil(missing / w.a)
  elseif w.kind == WINDOW then
    local left, at, till = s[2], 3, 0
    while s[at] and left + amount > w.cap do
      left, till = math.max(0, left - s[at + 2]), s[at + 1] + w.a - now
      at = at + 3
    end
    return till
  end
  if s[2] + amount <= w.cap then return 0 end
  return w.kind == CALENDAR and math.max(1, s[4] - now) or -1
end

local function reset(w)
  local s = w.state
  if w.kind == BUCKET then return math.ceil(s[2] / w.a) end
  if w.kind == WINDOW then return s[4] and math.max(0, s[#s - 1] + w.a - now) or 0 end
  if w.kind == CALENDAR then return math.max(0, s[4] - now) end
  return -1
end

-- Takes, whether there is room or not; what a settlement needs to find its place.
local function take(w, amount)
  local s = w.state
  if w.kind == BUCKET then
    s[2] = s[2] + amount * w.b
    return s.since or 0
  elseif w.kind == CALENDAR then
    s[2] = s[2] + amount
    return s[3]
  elseif w.kind == WINDOW and amount > 0 then
    s[2] = s[2] + amount
    local back = #s - 2
    if back >= 3 and (now - s[back]) * 1000 <= math.floor(w.a * 1000 / SLICES) then
      s[back + 1], s[back + 2] = math.max(s[back + 1], now), s[back + 2] + amount
      return s[back]
    end
    s[back + 3], s[back + 4], s[back + 5] = now, now, amount
    return now
  end
  return 0
end

-- `kept`: by one who may know less than others of how long it counts.
local function save(w, kept)
  if w.kind == PLACES then return end
  local s = w.state
  local since = s.since and REMEMBERED - (now - s.since) / 1000 or 0
  -- What can't be told from a new one.
  if s[2] == 0 and since <= 0 and (w.kind == BUCKET or w.kind == WINDOW and not s[3]) then
    return redis.call('DEL', w.key)
  end
  local ttl = math.max(math.ceil(reset(w) / 1000) + SLACK, math.ceil(since))
  if kept then ttl = math.max(ttl, redis.call('PTTL', w.key)) end
  redis.call('SET', w.key, cmsgpack.pack(s), 'PX', string.format('%.0f', math.min(ttl, 1e13)))
end

local function hold(key, lease, amount, ttl)
  if redis.call('ZADD', key, now + ttl * 1000, lease) == 1 then
    redis.call('INCRBY', key .. ':n', amount)
  end
  redis.call('PEXPIRE', key, ttl + SLACK)
  redis.call('PEXPIRE', key .. ':n', ttl + SLACK)
end
