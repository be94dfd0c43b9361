-- Keep reservations. ARGV: id, token, lease ms, keys. Returns those that are somebody else's now.
local meta, leases, owners = KEYS[1], KEYS[8], KEYS[9]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return redis.error_reply('GONE') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lost = {}
for at = 4, #ARGV do
  local owner = redis.call('HGET', owners, ARGV[at])
  if owner and string.sub(owner, 1, 32) == ARGV[2] then
    redis.call('ZADD', leases, 'XX', now + ARGV[3], ARGV[at])
  else
    lost[#lost + 1] = ARGV[at]
  end
end
return lost
