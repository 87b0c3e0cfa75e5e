-- KEYS: the reservation, one for each want, the instances. ARGV: id, milliseconds that a reservation is
-- remembered, milliseconds of a lease, 1 if it is taken whether there is room or not; then wants.
-- Each answer ends with the number of instances.
-- Answers {2}: settled before; {1, used, flags, ...} (1 taken, 2 climbed over the mark, 4 nothing is left); {0, want, never, wait, used, reset, ...}.
local id, memory, lease, force = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local before = redis.call('GET', KEYS[1])
local instances = redis.call('ZCARD', KEYS[#KEYS])
if before == SETTLED then return {2, instances} end
local had = before and cmsgpack.unpack(before)

local wants, lacks = {}, {0}
for at = 1, #KEYS - 2 do
  local w = want(at)
  open(w)
  wants[at] = w
  w.wait = wait(w)
  w.fits = force or w.force or (w.wait == 0 and w.amount + w.spare <= w.cap)
  if not had and not w.fits and w.enforce then
    for _, number in ipairs({at, w.amount > w.cap and 1 or 0, w.wait, used(w), reset(w)}) do
      lacks[#lacks + 1] = number
    end
  end
end
if #lacks > 1 then
  lacks[#lacks + 1] = instances
  return lacks
end

local answer, receipt = {1}, {}
for at, w in ipairs(wants) do
  local flags = 0
  if had then
    flags = had[2 * at - 1] >= 0 and 1 or 0
  elseif w.fits then
    local warned = warns(w)
    receipt[2 * at - 1], receipt[2 * at] = w.amount, take(w, w.amount)
    if w.kind == PLACES then
      hold(w.key, string.format('%.0f:%s', w.amount, id), w.amount, lease)
      w.state[2] = w.state[2] + w.amount
    end
    flags = 1 + (not warned and warns(w) and 2 or 0)
    -- What is charged was really used.
    if not force then reserve(w, w.amount) elseif fills(w) then flags = flags + 4 end
    save(w)
  else
    receipt[2 * at - 1], receipt[2 * at] = -1, 0
  end
  answer[#answer + 1] = used(w)
  answer[#answer + 1] = flags
end
if not had then
  redis.call('SET', KEYS[1], force and SETTLED or cmsgpack.pack(receipt), 'PX', memory)
end
answer[#answer + 1] = instances
return answer
