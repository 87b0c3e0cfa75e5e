-- KEYS and ARGV as for a take; each want's amount is what was used. In the place of a lease's length
-- 1 if the reservation goes on, of that much. Answers 1 if it did anything, then for each want 2 if
-- use climbed over the mark, 4 if nothing is left, and what is used.
local id, memory, lives = ARGV[1], ARGV[2], ARGV[3] == '1'
local before = redis.call('GET', KEYS[1])
local had = before and before ~= SETTLED and cmsgpack.unpack(before)
-- A take that is still on its way finds this and takes nothing.
if not lives then redis.call('SET', KEYS[1], SETTLED, 'PX', memory) end

local answer = {had and 1 or 0}
for at = 1, #KEYS - 1 do
  local w = want(at)
  local amount = had and had[2 * at - 1] or -1
  local flags = 0
  if w.kind == PLACES then
    -- Also of a reservation that a server has forgotten.
    local lease = string.format('%.0f:%s', w.d, id)
    if redis.call('ZREM', w.key, lease) == 1 then
      redis.call('DECRBY', w.key .. ':n', string.format('%.0f', w.d))
    end
  elseif amount >= 0 and (w.amount ~= amount or w.warn > 0) then
    open(w, true)
    local s, rest, mark = w.state, amount - w.amount, had[2 * at]
    local warned = warns(w)
    -- Whether it is of what is counted now: not of a period that is over, nor from before a reset.
    local counts = w.kind == WINDOW or w.kind == CALENDAR and s[3] <= mark or mark == (s.since or 0)
    if rest < 0 then
      take(w, -rest)
    elseif w.kind == BUCKET and counts then
      s[2] = math.max(0, s[2] - rest * w.b)
    elseif w.kind == CALENDAR and counts then
      s[2] = math.max(0, s[2] - rest)
    elseif w.kind == WINDOW then
      for slice = 3, #s, 3 do
        if s[slice] == mark then
          rest = math.min(rest, s[slice + 2])
          s[slice + 2], s[2] = s[slice + 2] - rest, math.max(0, s[2] - rest)
        end
      end
    end
    if counts then reserve(w, (lives and w.amount or 0) - amount) end
    flags = (not warned and warns(w) and 2 or 0) + (fills(w) and 4 or 0)
    had[2 * at - 1] = w.amount
    save(w, true)
  end
  answer[#answer + 1] = flags
  answer[#answer + 1] = flags > 0 and used(w) or 0
end
if had and lives then redis.call('SET', KEYS[1], cmsgpack.pack(had), 'PX', memory) end
return answer
