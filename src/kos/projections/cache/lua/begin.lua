#!lua flags=allow-oom
-- An empty generation that nobody sees. KEYS: where it is made. ARGV: for how many ms, then fields and values.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'B'
