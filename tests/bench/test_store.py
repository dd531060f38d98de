# SPDX-License-Identifier: BSD-3-Clause
"""The store's benches, small: that they run, lose nothing, and keep what does not depend on the machine."""

import json
import os

from bed import build, proc
from bed.harness import equal, expect, test


def run(work, name, *args):
    program = build.program(os.environ["BYPOST_BUILD"], "bench/" + name)
    lines = proc.run([program, work, *map(str, args)], timeout=100).stdout.splitlines()
    found = json.loads(next(line for line in lines if line.startswith("{")))  # progress is beside it
    equal(found["errors"], 0, found)
    return found


@test("bench: the store under churn writes little, and its file stays small", seconds=120)
def churn(work):
    found = run(work, "bench_store", 64, 10240, 4, 2000, "fifo")
    # Half as much as is live again, and the constant share of the journal.
    expect(found["file_bytes"] <= 1.5 * found["live_bytes"] + (256 << 20), found)
    expect(found["accept_and_delete"]["octets_written"] < 4, found)
    expect(found["accept_and_delete"]["store_per_s"] > 0 and found["accept"]["store_per_s"] > 0, found)


@test("bench: large messages fill holes of one page", seconds=120)
def holes(work):
    found = run(work, "bench_holes", 5000, 120000, 15)
    equal(found["messages"], 120, found)
    expect(found["grown"] < found["mail"] / 4, found)  # bodies lie in the journal; pages of rows wait for a checkpoint


@test("bench: a queue of 100,000 recipients", seconds=120)
def queue(work):
    found = run(work, "bench_queue", 10000, 10, 2048)
    equal(found["recipients"] >= 100000, True, found)
    expect(found["serve_s"] < 2, found)


@test("bench: the directory and a long mailbox", seconds=120)
def mailbox(work):
    found = run(work, "bench_mailbox", 20000, 100000)
    expect(found["directory_bytes_per_address"] <= 128, found)


@test("bench: a mailbox over IMAP, beside Dovecot's", seconds=120)
def imap(work):
    done = proc.run([os.path.join(proc.ROOT, "bench", "bench_imap"), "--build", os.environ["BYPOST_BUILD"],
                     "--disk", work, "--messages", "300", "--rounds", "1", "--seconds", "0.3", "--json"],
                    timeout=110)
    rows = json.loads(done.stdout[done.stdout.index("{"):])["rows"]
    equal([(r["server"], r["messages"]) for r in rows], [("bypost", 300), ("dovecot", 300)], "servers")
    for r in rows:
        for what in ("select", "envelope", "flags"):
            expect(r[what]["per_s"] > 0 and r[what]["per_cpu_s"] > 0, f"no rate: {r}")
