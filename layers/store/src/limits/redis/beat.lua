-- KEYS: the instances. ARGV: this one, milliseconds that one lives, 0 if it leaves. Answers how
-- many there are.
redis.call('ZADD', KEYS[1], now, ARGV[1])
if ARGV[3] == '0' then redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2] * 1000)
redis.call('PEXPIRE', KEYS[1], ARGV[2] + SLACK)
return redis.call('ZCARD', KEYS[1])
