-- Put tasks on the frontier that nobody has put there; join a place to those that somebody has.
-- ARGV: id, keep ms, most sitemaps, then for each: key, host, order, kind, delay ms, task, place
-- Returns for each: 'new', 'known', or how it ended ('=' and what finish.lua was given).
local meta, known, tasks, hosts, queue, places = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local pace = KEYS[7]
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return redis.error_reply('GONE') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local outcomes = {}
for at = 4, #ARGV, 7 do
  local key, host, order, kind = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local delay, task, place = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local state = redis.call('HGET', known, key)
  local outcome = 'known'
  if not state then
    local fits = kind ~= 's' or redis.call('HINCRBY', meta, 'sitemaps', 1) <= tonumber(ARGV[3])
    if fits then
      local seq = redis.call('HINCRBY', meta, 'seq', 1)
      redis.call('HSET', known, key, '?')
      redis.call('HSET', tasks, key, task)
      redis.call('ZADD', queue, 0, string.format('%s%s%012d%s%s', host, order, seq, kind, key))
      redis.call('ZADD', hosts, 'NX', now, host)
      redis.call('HSETNX', pace, host .. 'd', delay)
      outcome, state = 'new', '?'
    end
  elseif state ~= '?' then
    outcome = '=' .. state
  end
  if state == '?' and place ~= '' then
    local count = redis.call('HINCRBY', places, key, 1)
    redis.call('HSET', places, key .. ':' .. count, place)
  end
  outcomes[#outcomes + 1] = outcome
end
for _, name in ipairs(KEYS) do redis.call('PEXPIRE', name, ARGV[2]) end
return outcomes
