-- Take the next turn of a host. ARGV: id, host, delay ms if none is known. Returns ms to wait.
local meta, pace = KEYS[1], KEYS[7]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return redis.error_reply('GONE') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local host = ARGV[2]
local delay = tonumber(redis.call('HGET', pace, host .. 'd') or ARGV[3])
local last = tonumber(redis.call('HGET', pace, host .. 'l') or '0')
local pause = tonumber(redis.call('HGET', pace, host .. 'u') or '0')
local at = math.max(now, pause, delay > 0 and last + delay or 0)
redis.call('HSET', pace, host .. 'l', at, host .. 'd', delay)
return at - now
