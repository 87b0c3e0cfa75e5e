-- KEYS: a limit's key and a reservation in turn. ARGV: milliseconds of a lease; then for each pair
-- the amount and the id. Leases that a server has forgotten are there again; settled ones are not.
local ttl = tonumber(ARGV[1])
for at = 1, #KEYS, 2 do
  if redis.call('GET', KEYS[at + 1]) ~= SETTLED then
    local amount, id = ARGV[at + 1], ARGV[at + 2]
    hold(KEYS[at], amount .. ':' .. id, amount, ttl)
  end
end
return 1
