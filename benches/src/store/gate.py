"""What both Python peers of the benchmark `store` share: how much they do, and writers at once.

Stands before each of the two scripts, in one text. **Invariant**: only writes are timed, neither
how a writer begins nor how it ends.
"""

from time import perf_counter_ns

# The same numbers stand in store.rs and writes.rs.
KEYS = 100_000
TASKS = 8
SETS = 2_000


def rate(barrier, worker, write, place):
    """How many sets the workers get done in a second; `write` waits at the gate before and after."""
    gate = barrier(TASKS + 1)
    writers = [worker(target=write, args=(place, gate)) for _ in range(TASKS)]
    for writer in writers:
        writer.start()
    gate.wait()
    start = perf_counter_ns()
    gate.wait()
    taken = perf_counter_ns() - start
    for writer in writers:
        writer.join()
    return TASKS * SETS * 1e9 / taken
