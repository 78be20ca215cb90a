"""A peer of the benchmark `store`: the cache of tw-stock-agent as its documents describe it.

One table with an index for all that is looked up, tags as JSON, each set a statement that commits
by itself, a connection for each thread, the settings of its defaults. What its code does besides
(counting all entries at each set, a row of statistics for each call) is left out: it would be
slower. Usage: reference.py DIRECTORY. Prints one JSON object: how many sets eight threads get done
in a second. gate.py stands before it.
"""

import json
import os
import random
import sqlite3
import sys
import threading
from time import time

VALUE = os.urandom(100).hex()

SCHEMA = """
    CREATE TABLE cache_entries (
        key TEXT PRIMARY KEY, value TEXT NOT NULL, expire_at REAL, created_at REAL,
        access_count INTEGER DEFAULT 0, last_accessed REAL, data_type TEXT DEFAULT 'json',
        compressed INTEGER DEFAULT 0, size_bytes INTEGER DEFAULT 0, tags TEXT);
    CREATE INDEX idx_cache_expire_at ON cache_entries(expire_at);
    CREATE INDEX idx_cache_created_at ON cache_entries(created_at);
    CREATE INDEX idx_cache_last_accessed ON cache_entries(last_accessed);
    CREATE INDEX idx_cache_data_type ON cache_entries(data_type);
    CREATE INDEX idx_cache_tags ON cache_entries(tags);
"""
SET = """
    INSERT OR REPLACE INTO cache_entries
        (key, value, expire_at, created_at, last_accessed, size_bytes, tags)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def connect(path):
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -64000;"
        "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 268435456;"
    )
    return connection


def entry(number):
    now = time()
    tags = json.dumps(["price", f"stock_{number}"])
    return f"user:{number:010}:cart", VALUE, now + 3600, now, now, len(VALUE), tags


def write(path, gate):
    connection = connect(path)
    gate.wait()
    for _ in range(SETS):
        connection.execute(SET, entry(random.randrange(KEYS)))
    gate.wait()
    connection.close()


def main():
    path = os.path.join(sys.argv[1], "reference.db")
    os.makedirs(sys.argv[1])
    connection = connect(path)
    connection.executescript(SCHEMA)
    connection.execute("BEGIN")
    connection.executemany(SET, map(entry, range(KEYS)))
    connection.execute("COMMIT")
    done = rate(threading.Barrier, threading.Thread, write, path)
    print(json.dumps({"rate": done}))


main()
