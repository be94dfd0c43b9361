-- Slow a host down for everybody. ARGV: id, host, least delay ms, pause ms
local meta, pace = KEYS[1], KEYS[7]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local host, delay, pause = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if delay > tonumber(redis.call('HGET', pace, host .. 'd') or '0') then
  redis.call('HSET', pace, host .. 'd', delay)
end
if pause > 0 and now + pause > tonumber(redis.call('HGET', pace, host .. 'u') or '0') then
  redis.call('HSET', pace, host .. 'u', now + pause)
end
return 1
