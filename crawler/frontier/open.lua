-- Begin a crawl, or join it. Returns {its id} or an error's name.
-- ARGV: format, check, new id, most pages, keep ms
local meta = KEYS[1]
local id = redis.call('HGET', meta, 'id')
if id then
  if redis.call('HGET', meta, 'format') ~= ARGV[1] then return {'', 'OTHERFORMAT'} end
  if redis.call('HGET', meta, 'check') ~= ARGV[2] then return {'', 'OTHERKEY'} end
else
  id = ARGV[3]
  redis.call('HSET', meta, 'format', ARGV[1], 'check', ARGV[2], 'id', id)
end
local most = tonumber(ARGV[4])
if most > tonumber(redis.call('HGET', meta, 'most_pages') or '0') then
  redis.call('HSET', meta, 'most_pages', most)
end
redis.call('PEXPIRE', meta, ARGV[5])
return {id, ''}
