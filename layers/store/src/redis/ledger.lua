-- Adds a batch once. All keys carry the same hash tag as KEYS[1], so they are on one server.
local base = KEYS[1]
local batch = cjson.decode(ARGV[1])
if not redis.call('SET', base .. ':batch:' .. batch.id, '1', 'NX', 'EX', '3600') then
  return 0
end

-- Sums stay at the largest integer.
local function add(key, field, more)
  local sum = redis.pcall('HINCRBY', key, field, more)
  if type(sum) == 'table' and sum.err then
    redis.call('HSET', key, field, '9223372036854775807')
  end
end

-- A name without its place is one of the others where there are too many.
local function place(key, name, most)
  if redis.call('HEXISTS', key, name) == 0 and redis.call('HLEN', key) >= most then
    return batch.other
  end
  return name
end

-- Ids go up, also where the last row was removed, and are never before the row's own time, so that
-- they can be looked up by it.
local rows = base .. ':rows'
local at = 0
local stream = redis.pcall('XINFO', 'STREAM', rows)
for n = 1, #stream, 2 do
  if stream[n] == 'last-generated-id' then
    at = tonumber(string.match(stream[n + 1], '^%d+'))
  end
end
for _, row in ipairs(batch.rows) do
  at = math.max(at, row[1])
  redis.call('XADD', rows, string.format('%.0f', at) .. '-*', 'row', row[2])
end

for _, sum in ipairs(batch.totals) do
  local kind, period, name, figures = sum[1], sum[2], sum[3], sum[4]
  local key = base .. ':total:' .. kind .. ':' .. period
  local index = period % 100 == 0 and ':months' or ':days'
  redis.call('ZADD', base .. index, period, 'total:' .. kind .. ':' .. period)
  if redis.call('HEXISTS', key, '0:' .. name) == 0 and redis.call('HLEN', key) >= batch.most * 4 then
    name = batch.other
  end
  for n, figure in ipairs(figures) do
    if figure ~= '0' then
      add(key, (n - 1) .. ':' .. name, figure)
    end
  end
end

for _, one in ipairs(batch.refusals) do
  local day, limit, name = one[1], one[2], one[3]
  local key = base .. ':refusal:' .. day
  redis.call('ZADD', base .. ':days', day, 'refusal:' .. day)
  local field = cjson.encode({limit, name})
  if redis.call('HEXISTS', key, field) == 0 and redis.call('HLEN', key) >= batch.most then
    field = cjson.encode({limit, batch.other})
  end
  local before = redis.call('HGET', key, field)
  local count = one[4] + (before and tonumber(string.match(before, '^%d+')) or 0)
  redis.call('HSET', key, field, string.format('%.0f %s %s %s', count, one[5], one[6], one[7]))
end

for _, one in ipairs(batch.limits) do
  local key = base .. ':limit:' .. one[1]
  redis.call('ZADD', base .. ':days', one[1], 'limit:' .. one[1])
  add(key, 'a:' .. one[2], one[3])
  add(key, 'r:' .. one[2], one[4])
end
return 1
