"""The peer of the benchmark `matroska`: matroska-cache on Redis, one round for each line it reads.

Usage: peer.py SOCKET. A line on standard input is a JSON list of an operation and its count; the
answer is a JSON object with the median, in microseconds, of what one call took.
"""

import json
import statistics
import sys
from time import perf_counter_ns

from matroska_cache import MatroskaCache, dep
from matroska_cache.backends.redis import RedisBackend
from redis import Redis

# The same numbers stand in matroska.rs.
KEYS = 1000
ROWS = 1000
CALLS = 500
EXPIRES = 3600
# A plain string, which the peer stores as it is; anything else it would make JSON of.
VALUE = "x" * 100

redis = Redis(unix_socket_path=sys.argv[1], decode_responses=True)
cache = MatroskaCache(RedisBackend(redis, prefix="bench"))


def median(calls):
    """The median of what the calls take, one by one."""
    taken = []
    for call in calls:
        start = perf_counter_ns()
        call()
        taken.append(perf_counter_ns() - start)
    return statistics.median(taken) / 1e3


def rows(key, count):
    return [dep.Id("article", (key * 37 + n) % ROWS) for n in range(count)]


def store(key, count):
    cache.put(f"key:{key}", VALUE, *rows(key, count), expires=EXPIRES)


def get(_count):
    for key in range(KEYS):
        store(key, 1)

    def one(key):
        if cache.get(f"key:{key}") != VALUE:
            sys.exit("not the value that was stored")

    return median((lambda key=key: one(key % KEYS)) for key in range(CALLS))


def bare(_count):
    redis.set("bare", VALUE)
    return median((lambda: redis.get("bare")) for _ in range(CALLS))


def put(count):
    return median((lambda key=key: store(key % KEYS, count)) for key in range(CALLS))


def invalidate(count):
    calls = max(1, min(100, 1000 // count))
    for call in range(calls):
        for n in range(count):
            cache.put(f"fan:{call}:{n}", VALUE, dep.Id("author", call), expires=EXPIRES)
    taken = median((lambda call=call: cache.invalidate(dep.Id("author", call))) for call in range(calls))
    if any(cache.has(f"fan:{call}:{count - 1}") for call in range(calls)):
        sys.exit("an entry is there after it was invalidated")
    return taken


OPERATIONS = {"get": get, "bare": bare, "put": put, "invalidate": invalidate}

for line in sys.stdin:
    operation, count = json.loads(line)
    redis.flushall()
    print(json.dumps({"median_micros": OPERATIONS[operation](count)}), flush=True)
