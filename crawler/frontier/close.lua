-- Erase a crawl that is over: nothing waits, nothing is out. ARGV: id. Returns 1 if it was.
local meta, queue, leases = KEYS[1], KEYS[5], KEYS[8]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return 1 end
if redis.call('ZCARD', queue) > 0 or redis.call('ZCARD', leases) > 0 then return 0 end
redis.call('SET', KEYS[13], ARGV[1], 'EX', 3600)
for at = 1, 12 do redis.call('DEL', KEYS[at]) end
return 1
