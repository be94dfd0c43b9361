-- Give reservations back, untouched. ARGV: id, token, keys
local meta, hosts, queue = KEYS[1], KEYS[4], KEYS[5]
local leases, owners, out = KEYS[8], KEYS[9], KEYS[10]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 3, #ARGV do
  local key = ARGV[at]
  local owner = redis.call('HGET', owners, key)
  if owner and string.sub(owner, 1, 32) == ARGV[2] then
    local member = string.sub(owner, 33)
    local host = string.sub(member, 1, 32)
    redis.call('HDEL', owners, key)
    redis.call('ZREM', leases, key)
    redis.call('HINCRBY', out, host, -1)
    if string.sub(member, 48, 48) == 'p' then redis.call('HINCRBY', meta, 'pages_out', -1) end
    redis.call('ZADD', queue, 0, member)
    redis.call('ZADD', hosts, 'NX', now, host)
  end
end
return 1
