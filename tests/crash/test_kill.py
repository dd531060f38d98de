# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 at random moments under load: whatever got a 250 is in a mailbox, in the queue, or at the
receiving server, unaltered.  The same checker must catch a daemon that answers before the commit."""

import os
import random
import time

from bed import load
from bed.bed import Bed
from bed.harness import equal, test
from bed.kills import CHANGES, SEED, campaign

KILLS = 24
MUTANT_ROUNDS = 15


@test(f"kill -9 under load, {KILLS} times: nothing acknowledged is lost", seconds=300)
def kill_one(work):
    campaign(work, KILLS, "one", 60)


@test("kill -9 under load, layout split", seconds=200)
def kill_split(work):
    campaign(work, 8, "split", 40)


@test("kill -9 under load, two shards: mail between them is there once", seconds=240)
def kill_shards(work):
    campaign(work, 8, "one", 60, shards=2)


def one_round(bed, rng, seed, offered):
    """Load the local mailboxes, kill right after an acknowledgement; returns what was lost."""
    run = load.Load(bed, 8, lambda r, ident: [r.choice([bed.user1, bed.user2])],
                    lambda r: 5_000, timeout=3, seed=seed, offered=offered).start()
    before = time.monotonic()
    wanted = rng.randrange(20, 80)
    while len(run.acked) < wanted and time.monotonic() - before < 10:
        time.sleep(0.0005)
    bed.kill_daemon()
    run.stopping.set()
    run.stop()
    bed.start_daemon()
    return run, load.lost(run, load.look(bed, sinks=()))


@test("mutant: a daemon that answers 250 before the commit is caught", seconds=240)
def mutant(work):
    mutants = os.environ.get("BYPOST_BUILD_MUTANTS")
    rng, offered = random.Random(SEED), {}
    with Bed(work + "/bed", binaries=mutants, daemon_args=["--mutant", "ack-early"],
             changes=CHANGES) as bed:
        for i in range(MUTANT_ROUNDS):
            run, lost = one_round(bed, rng, i, offered)
            nowhere = [p for p in lost if p[2] == "nowhere"]
            if nowhere:
                print(f"caught in round {i + 1}: {len(nowhere)} of {len(run.acked)} acknowledged "
                      f"messages are nowhere")
                return
        raise AssertionError(f"the mutant was not caught in {MUTANT_ROUNDS} rounds")


@test("the checker finds nothing wrong in the same rounds of the real daemon", seconds=240)
def control_rounds(work):
    rng, offered = random.Random(SEED), {}
    with Bed(work + "/bed", changes=CHANGES) as bed:
        for i in range(6):
            run, lost = one_round(bed, rng, i, offered)
            equal(lost, [], f"round {i + 1}: lost or altered of {len(run.acked)}")
