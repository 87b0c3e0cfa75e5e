-- Removes some of what is old, rows up to a last millisecond; 1 if there is more.
local base = KEYS[1]
local last, most, days, months, step = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local rows = base .. ':rows'
local more = 0

local function remove(found)
  local ids = {}
  for n, row in ipairs(found) do
    ids[n] = row[1]
  end
  if #ids > 0 then
    redis.call('XDEL', rows, unpack(ids))
  end
  if #ids >= step then
    more = 1
  end
end
if last ~= '0' then
  remove(redis.call('XRANGE', rows, '-', last, 'COUNT', step))
end
local beyond = math.min(redis.call('XLEN', rows) - most, step)
if beyond > 0 then
  remove(redis.call('XRANGE', rows, '-', '+', 'COUNT', beyond))
end

for index, bound in pairs({[':days'] = days, [':months'] = months}) do
  local old = redis.call('ZRANGEBYSCORE', base .. index, '-inf', '(' .. bound, 'LIMIT', 0, 100)
  for _, name in ipairs(old) do
    redis.call('UNLINK', base .. ':' .. name)
    redis.call('ZREM', base .. index, name)
  end
  if #old >= 100 then
    more = 1
  end
end
return more
