"""The Lua scripts by which Redis cuts messages short before it sends them.

A message may have megabytes, of which a few bytes are wanted. The scripts only read; each looks at
a bounded number of messages, since Redis does nothing else meanwhile.
"""

from typing import Final

#: Bytes of a message's end that are taken.
TAIL_BYTES: Final = 4096
#: Lists that one script looks at.
LISTS_EACH: Final = 100
#: Entries of the unacked hash that one script looks at.
UNACKED_EACH: Final = 250

#: KEYS are lists, ARGV[1] is TAIL_BYTES. Returns the end of the message to be taken next from
#: each: kombu pushes on the left and pops on the right (kombu/transport/redis.py ``_put``,
#: ``_brpop_start``). What a lost worker held is put back on the right, what is rejected with
#: requeue on the left (``restore_by_tag``). Absent lists are null.
TAILS: Final = """\
local out = {}
for i, key in ipairs(KEYS) do
  local message = redis.pcall('LINDEX', key, -1)
  if type(message) == 'string' then
    out[i] = string.sub(message, -tonumber(ARGV[1]))
  else
    out[i] = message
  end
end
return out
"""

#: KEYS[1] is the unacked hash, ARGV the cursor and UNACKED_EACH. Returns the next cursor, and
#: delivery tags each followed by ``"exchange", "routing_key"``: a value of the hash is the JSON
#: of [message, exchange, routing_key] (kombu/transport/redis.py ``QoS.append``), the message an
#: object. What is formed otherwise is followed by an empty string.
UNACKED: Final = """\
local step = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local out = {}
for i = 1, #step[2], 2 do
  out[i] = string.sub(step[2][i], 1, 64)
  out[i + 1] = string.match(string.sub(step[2][i + 1], -1024), '.*},%s*(.*)%]%s*$') or ''
end
return {step[1], out}
"""
