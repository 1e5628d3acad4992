#!lua flags=allow-oom
-- A part of a batch: entries that are old, and tables that everything made of them is old. Also where the memory is
-- full: else what is old would stay.
-- KEYS: the tenant's state, and the one that is being made. ARGV: the generation, the kinds, where it stands
-- (incarnation, position), where it shall stand (incarnation, position, leaf), whether this is the last part, what
-- entries' names begin with, how many tables, then each with a position, then the entries.
local at
for _, key in ipairs(KEYS) do
  local found = redis.call('HMGET', key, 'generation', 'kinds', 'incarnation', 'position')
  if found[1] == ARGV[1] and found[2] == ARGV[2] and found[3] == ARGV[3] and found[4] == ARGV[4] then at = key end
end
if not at then return 'M' end
if ARGV[8] == 'rehearse' then return 'A' end

local function reaches(incarnation, position, other, place)
  incarnation, position, other, place = tonumber(incarnation), tonumber(position), tonumber(other), tonumber(place)
  return incarnation > other or (incarnation == other and position >= place)
end

-- First of all nothing is kept any more that was read before the end of the batch: an entry of this part could be
-- filled again before the last part comes, with what this batch makes old.
local from = redis.call('HMGET', at, 'from_incarnation', 'from_position')
if not reaches(from[1], from[2], ARGV[5], ARGV[6]) then
  redis.call('HSET', at, 'from_incarnation', ARGV[5], 'from_position', ARGV[6])
end
local tables = tonumber(ARGV[10])
for n = 11, 10 + 2 * tables, 2 do
  redis.call('HSET', at, ARGV[n], ARGV[5] .. ' ' .. ARGV[n + 1])
end
for n = 11 + 2 * tables, #ARGV do
  redis.call('UNLINK', ARGV[9] .. ARGV[1] .. ':' .. ARGV[n])
end
if ARGV[8] == 'last' then
  redis.call('HSET', at, 'incarnation', ARGV[5], 'position', ARGV[6], 'leaf', ARGV[7])
end
return 'A'
