#!lua flags=allow-oom
-- The mark that is gone with everything else; a new one where there is none. KEYS: the mark. ARGV: what a new one is.
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
