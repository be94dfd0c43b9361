-- End a task, unless places have joined it that its owner has not seen: those are returned.
-- ARGV: id, token, key, places seen, how it ended, 1 if a page was visited, other keys that it ends
-- Returns {state, place, ...}: 'done', 'more', or 'lost' where it is somebody else's now.
local meta, known, tasks, hosts, places = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local leases, owners, out, tries = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return redis.error_reply('GONE') end
local key, seen = ARGV[3], tonumber(ARGV[4])
local owner = redis.call('HGET', owners, key)
if not owner or string.sub(owner, 1, 32) ~= ARGV[2] then return {'lost'} end
local joined = tonumber(redis.call('HGET', places, key) or '0')
if joined > seen then
  local more = {'more'}
  for place = seen + 1, joined do
    more[#more + 1] = redis.call('HGET', places, key .. ':' .. place)
  end
  return more
end
local host, kind = string.sub(owner, 33, 64), string.sub(owner, 80, 80)
for place = 1, joined do redis.call('HDEL', places, key .. ':' .. place) end
redis.call('HDEL', places, key)
redis.call('HDEL', tasks, key)
redis.call('HDEL', tries, key)
redis.call('HDEL', owners, key)
redis.call('ZREM', leases, key)
redis.call('HSET', known, key, ARGV[5])
for at = 7, #ARGV do redis.call('HSETNX', known, ARGV[at], ARGV[5]) end
if kind == 'p' then redis.call('HINCRBY', meta, 'pages_out', -1) end
if ARGV[6] == '1' then redis.call('HINCRBY', meta, 'pages', 1) end
if redis.call('HINCRBY', out, host, -1) <= 0 then redis.call('HDEL', out, host) end
-- A host without a pause was only waiting for one of its places.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local delay = tonumber(redis.call('HGET', KEYS[7], host .. 'd') or '0')
local pause = tonumber(redis.call('HGET', KEYS[7], host .. 'u') or '0')
if delay == 0 and pause <= now then redis.call('ZADD', hosts, 'XX', 'LT', now, host) end
return {'done'}
