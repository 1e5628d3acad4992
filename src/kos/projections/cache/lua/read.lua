-- A value, or why there is none. Without a "#!" line, so that it goes on where the memory is full or this is a replica.
-- KEYS: the tenant's state. ARGV: what entries' names begin with, the entry, whose it is, the reader's bookmark as
-- incarnation and position, a lease in ms, its kind, the kind's definition, then the tables that it is made of.
local state = redis.call('HMGET', KEYS[1], 'generation', 'incarnation', 'position', 'kind:' .. ARGV[7], unpack(ARGV, 9))
if not (state[1] and state[2] and state[3]) then return 'S' end
if state[4] ~= ARGV[8] then return 'K' end

local function reaches(incarnation, position, other, at)
  incarnation, position, other, at = tonumber(incarnation), tonumber(position), tonumber(other), tonumber(at)
  return incarnation > other or (incarnation == other and position >= at)
end

-- The same incarnation: in a later one what the bookmark stands for may be lost.
local function has_it(incarnation, position)
  return ARGV[4] == '0' or (incarnation == ARGV[4] and tonumber(position) >= tonumber(ARGV[5]))
end

local key = ARGV[1] .. state[1] .. ':' .. ARGV[2]
local entry = redis.call('HMGET', key, 'v' .. ARGV[3], 'l' .. ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if entry[1] then
  local incarnation, position, expires, begin = string.match(entry[1], '^(%d+) (%d+) (%d+) ()')
  local good = now < tonumber(expires) and (has_it(state[2], state[3]) or has_it(incarnation, position))
  for n = 5, 4 + #ARGV - 8 do
    if good and state[n] then
      local from, at = string.match(state[n], '^(%d+) (%d+)$')
      good = reaches(incarnation, position, from, at)
    end
  end
  if good then return string.sub(entry[1], begin) end
end

-- One reader loads it; the others are told that somebody does. That can't be noted everywhere: then all load.
if entry[2] and tonumber(entry[2]) > now then return 'W' .. state[1] end
local noted = redis.pcall('HSET', key, 'l' .. ARGV[3], string.format('%.0f', now + ARGV[6]))
if type(noted) == 'number' and redis.call('PTTL', key) < tonumber(ARGV[6]) then
  redis.call('PEXPIRE', key, ARGV[6])
end
return 'L' .. state[1]
