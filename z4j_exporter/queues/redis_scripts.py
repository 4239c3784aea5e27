"""The Lua scripts by which Redis cuts messages short before it sends them.

A message may have megabytes, of which a few bytes are wanted. The scripts only read; each looks at
a bounded number of messages, since Redis does nothing else meanwhile.
"""

from collections.abc import Sequence
from typing import Any, Final

from z4j_exporter.sources.redis_calls import Command, RedisCalls, refusal

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


class Scripts:
    """Runs scripts, as ones that only read where the server knows that (Redis 7).

    EVAL wants a user who may write to the keys; EVAL_RO does not.
    """

    def __init__(self) -> None:
        self._command = "EVAL_RO"

    def run(self, calls: RedisCalls, scripts: Sequence[Command]) -> list[Any]:
        """Run scripts, each given by its text, the number of keys, keys and arguments.

        A script that was refused is answered as by RedisCalls.run. Raises SourceLostError.
        """
        answers = calls.run([(self._command, *script) for script in scripts])
        if self._command == "EVAL" or not (answers and _not_allowed(answers[0])):
            return answers
        again = calls.run([("EVAL", *script) for script in scripts])
        if _not_allowed(again[0]):
            return answers
        self._command = "EVAL"
        return again


def _not_allowed(answer: Any) -> bool:
    return refusal(answer).lower().startswith(("err unknown command", "noperm"))
