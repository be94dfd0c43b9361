-- Hand out tasks whose hosts are due, each until its reservation ends.
-- ARGV: id, token, how many, lease ms, most of a host, most tries, keep ms
-- Returns {key, task, key, task, ...}, tasks that wait, tasks that are out, count of sites, given up.
local meta, known, tasks, hosts, queue, places = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local pace, leases, owners, out, tries, sites = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return redis.error_reply('GONE') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wanted, lease, most, most_tries = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function forget(key)
  redis.call('HSET', known, key, '-')
  redis.call('HDEL', tasks, key)
  for place = 1, tonumber(redis.call('HGET', places, key) or '0') do
    redis.call('HDEL', places, key .. ':' .. place)
  end
  redis.call('HDEL', places, key)
end

local given_up = 0
-- (1) What somebody had in hand for too long goes back; what has ended several crawlers does not.
for _, key in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 256)) do
  local member = string.sub(redis.call('HGET', owners, key), 33)
  local host, kind = string.sub(member, 1, 32), string.sub(member, 48, 48)
  redis.call('ZREM', leases, key)
  redis.call('HDEL', owners, key)
  redis.call('HINCRBY', out, host, -1)
  if kind == 'p' then redis.call('HINCRBY', meta, 'pages_out', -1) end
  if redis.call('HINCRBY', tries, key, 1) >= most_tries then
    forget(key)
    given_up = given_up + 1
  else
    redis.call('ZADD', queue, 0, member)
    redis.call('ZADD', hosts, 'NX', now, host)
  end
end

-- (2) Hosts in the order in which they are due: one task where there is a delay, else several.
local handed = {}
for _, host in ipairs(redis.call('ZRANGEBYSCORE', hosts, '-inf', now, 'LIMIT', 0, 4 * wanted)) do
  while #handed < 2 * wanted do
    if tonumber(redis.call('HGET', out, host) or '0') >= most then
      redis.call('ZADD', hosts, now + 500, host)
      break
    end
    local member = redis.call('ZRANGEBYLEX', queue, '[' .. host, '[' .. host .. '~', 'LIMIT', 0, 1)[1]
    if not member then
      redis.call('ZREM', hosts, host)
      break
    end
    local kind, key = string.sub(member, 48, 48), string.sub(member, 49)
    local room = true
    if kind == 'p' then
      local limit = tonumber(redis.call('HGET', meta, 'most_pages') or '0')
      local visited = tonumber(redis.call('HGET', meta, 'pages') or '0')
      if visited >= limit then
        redis.call('ZREM', queue, member)
        forget(key)
        room = false
      elseif visited + tonumber(redis.call('HGET', meta, 'pages_out') or '0') >= limit then
        redis.call('ZADD', hosts, now + 200, host)
        break
      else
        redis.call('HINCRBY', meta, 'pages_out', 1)
      end
    end
    if room then
      redis.call('ZREM', queue, member)
      redis.call('ZADD', leases, now + lease, key)
      redis.call('HSET', owners, key, ARGV[2] .. member)
      redis.call('HINCRBY', out, host, 1)
      handed[#handed + 1] = key
      handed[#handed + 1] = redis.call('HGET', tasks, key)
      local delay = tonumber(redis.call('HGET', pace, host .. 'd') or '0')
      local pause = tonumber(redis.call('HGET', pace, host .. 'u') or '0')
      if delay > 0 or pause > now then
        redis.call('ZADD', hosts, math.max(now + delay, pause), host)
        break
      end
    end
  end
  if #handed >= 2 * wanted then break end
end
for _, name in ipairs(KEYS) do redis.call('PEXPIRE', name, ARGV[7]) end
return {handed, redis.call('ZCARD', queue), redis.call('ZCARD', leases), redis.call('SCARD', sites), given_up}
