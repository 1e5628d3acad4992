-- Keep what was read. Without a "#!" line: where the memory is full, it is refused.
-- KEYS: the tenant's state. ARGV: what entries' names begin with, the entry, whose it is, where the log ended before it
-- was read (incarnation, position), its kind, the kind's definition, the generation, for how many ms, the value, and of
-- how many readers an entry has values at most.
local state = redis.call('HMGET', KEYS[1], 'generation', 'from_incarnation', 'from_position', 'kind:' .. ARGV[6])
if state[1] ~= ARGV[8] or state[4] ~= ARGV[7] or not (state[2] and state[3]) then return 'G' end

local function reaches(incarnation, position, other, at)
  incarnation, position, other, at = tonumber(incarnation), tonumber(position), tonumber(other), tonumber(at)
  return incarnation > other or (incarnation == other and position >= at)
end

local key = ARGV[1] .. state[1] .. ':' .. ARGV[2]
local value, lease = 'v' .. ARGV[3], 'l' .. ARGV[3]
-- What was invalidated after this was read is gone from here, and would not be invalidated again.
if not reaches(ARGV[4], ARGV[5], state[2], state[3]) then
  redis.call('HDEL', key, lease)
  return 'R'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', key, value)
if before then
  local incarnation, position, expires = string.match(before, '^(%d+) (%d+) (%d+) ')
  if now < tonumber(expires) and not reaches(ARGV[4], ARGV[5], incarnation, position) then
    redis.call('HDEL', key, lease)
    return 'O'
  end
elseif redis.call('HLEN', key) >= tonumber(ARGV[11]) then
  redis.call('UNLINK', key)
end
redis.call('HSET', key, value, ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. string.format('%.0f ', now + ARGV[9]) .. ARGV[10])
redis.call('HDEL', key, lease)
if redis.call('PTTL', key) < tonumber(ARGV[9]) then redis.call('PEXPIRE', key, ARGV[9]) end
return 'F'
