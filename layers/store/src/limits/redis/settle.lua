-- KEYS and ARGV as for a take; each want's amount is what was used. Answers 1 if it did anything.
local id, memory = ARGV[1], ARGV[2]
local before = redis.call('GET', KEYS[1])
-- A take that is still on its way finds this and takes nothing.
redis.call('SET', KEYS[1], SETTLED, 'PX', memory)
local had = before and before ~= SETTLED and cmsgpack.unpack(before)

for at = 1, #KEYS - 1 do
  local w = want(at)
  local amount = had and had[2 * at - 1] or -1
  if w.kind == PLACES then
    -- Also of a reservation that a server has forgotten.
    local lease = string.format('%.0f:%s', w.d, id)
    if redis.call('ZREM', w.key, lease) == 1 then
      redis.call('DECRBY', w.key .. ':n', string.format('%.0f', w.d))
    end
  elseif amount >= 0 and w.amount ~= amount then
    open(w)
    local s, rest, mark = w.state, amount - w.amount, had[2 * at]
    if rest < 0 then
      take(w, -rest)
    elseif w.kind == BUCKET then
      s[2] = math.max(0, s[2] - rest * w.b)
    elseif w.kind == CALENDAR and s[3] <= mark then
      s[2] = math.max(0, s[2] - rest)
    elseif w.kind == WINDOW then
      for slice = 3, #s, 3 do
        if s[slice] == mark then
          rest = math.min(rest, s[slice + 2])
          s[slice + 2], s[2] = s[slice + 2] - rest, math.max(0, s[2] - rest)
        end
      end
    end
    save(w)
  end
end
return had and 1 or 0
