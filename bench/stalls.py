# SPDX-License-Identifier: BSD-3-Clause
"""How long a machine is without its CPUs while all of them are busy: time that a virtual machine's host
gives to others.  No server on it has a better latency than that."""

import multiprocessing
import os
import time

STALL = 1e-3  # seconds: shorter ones are interrupts


def count(cpu, seconds):
    """(seconds away, the longest of them) of a loop that does nothing else."""
    os.sched_setaffinity(0, {cpu})
    away = longest = 0.0
    last = time.perf_counter()
    end = last + seconds
    while last < end:
        now = time.perf_counter()
        if now - last > STALL:
            away += now - last
            longest = max(longest, now - last)
        last = now
    return away, longest


def measure(seconds=3):
    """{"share": of the time, "longest_ms"}, all CPUs counting at once."""
    cpus = sorted(os.sched_getaffinity(0))
    with multiprocessing.get_context("fork").Pool(len(cpus)) as pool:
        found = pool.starmap(count, [(cpu, seconds) for cpu in cpus], 1)
    return {"share": sum(away for away, _ in found) / (len(cpus) * seconds),
            "longest_ms": max(longest for _, longest in found) * 1e3}


if __name__ == "__main__":
    print(measure())
