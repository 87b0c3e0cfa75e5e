-- Pins what one instance says and reads what all others do, by the server's clock alone. A note is
-- when it was pinned and until when it stays, in milliseconds, and the text.
local board, me, text, keep, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if keep > 0 then
  redis.call('HSET', board, me, string.format('%.0f %.0f ', now, now + keep) .. text)
else
  redis.call('HDEL', board, me)
end
local last, read = 0, {}
local notes = redis.call('HGETALL', board)
for n = 1, #notes, 2 do
  local from = notes[n]
  local at, stays, said = string.match(notes[n + 1], '^(%d+) (%d+) (.*)$')
  stays = tonumber(stays)
  if not stays or stays <= now then
    redis.call('HDEL', board, from)
  else
    last = math.max(last, stays)
    if from ~= me and #read < most then
      read[#read + 1] = {from, math.max(now - at, 0), said}
    end
  end
end
if last > 0 then
  redis.call('PEXPIRE', board, string.format('%.0f', last - now))
end
return read
