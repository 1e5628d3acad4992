#!lua flags=allow-oom
-- Readers see the generation that was made. KEYS: the tenant's state, and the one that is being made. ARGV: the
-- generation, its kinds, its incarnation and position.
for n = 2, 1, -1 do
  local found = redis.call('HMGET', KEYS[n], 'generation', 'kinds', 'incarnation', 'position')
  if found[1] == ARGV[1] and found[2] == ARGV[2] and found[3] == ARGV[3] and found[4] == ARGV[4] then
    if n == 2 then
      redis.call('RENAME', KEYS[2], KEYS[1])
      redis.call('PERSIST', KEYS[1])
    end
    return 'A'
  end
end
return 'M'
