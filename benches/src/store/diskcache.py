"""The peer of the benchmark `store`: diskcache, in a Python of its own.

Usage: diskcache.py DIRECTORY. Prints one JSON object: median and p99 of single calls in
microseconds, and how many sets eight processes get done in a second. gate.py stands before it.
"""

import json
import multiprocessing
import os
import random
import sys
from time import perf_counter_ns

from diskcache import Cache

VALUE = os.urandom(200)
# The same number stands in diskcache.rs.
CALLS = 20_000


def key(number):
    return f"user:{number:010}:cart"


def timed(call):
    taken = []
    for _ in range(CALLS):
        name = key(random.randrange(KEYS))
        start = perf_counter_ns()
        call(name)
        taken.append(perf_counter_ns() - start)
    taken.sort()
    return taken[CALLS // 2] / 1e3, taken[CALLS * 99 // 100] / 1e3


def write(directory, gate):
    with Cache(directory, timeout=60) as cache:
        gate.wait()
        for _ in range(SETS):
            cache.set(key(random.randrange(KEYS)), VALUE)
        gate.wait()


def main():
    directory = sys.argv[1]
    with Cache(directory, timeout=60) as cache:
        with cache.transact():
            for number in range(KEYS):
                cache.set(key(number), VALUE)
        get, get_slow = timed(cache.get)
        put, put_slow = timed(lambda name: cache.set(name, VALUE))
    done = rate(multiprocessing.Barrier, multiprocessing.Process, write, directory)
    print(json.dumps({"get": [get, get_slow], "set": [put, put_slow], "rate": done}))


main()
