-- KEYS: of limits, other than places. What they have used counts no more, nor what is reserved there:
-- of that nothing is given back later, and what goes beyond it counts. Answers which had used any.
local found = {}
for at, key in ipairs(KEYS) do
  local packed = redis.pcall('GET', key)
  local s = type(packed) == 'string' and cmsgpack.unpack(packed)
  if s and s[2] > 0 then
    if s[1] == BUCKET then
      local fresh = {BUCKET, 0, now, s[4], s[5], since = now}
      redis.call('SET', key, cmsgpack.pack(fresh), 'PX', REMEMBERED)
    elseif s[1] == CALENDAR then
      -- As if the period had begun now.
      redis.call('SET', key, cmsgpack.pack({CALENDAR, 0, now, s[4]}), 'KEEPTTL')
    else
      redis.call('DEL', key)
    end
    found[#found + 1] = at
  end
end
return found
