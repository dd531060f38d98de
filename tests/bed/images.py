# SPDX-License-Identifier: BSD-3-Clause
"""Disks after power cuts: a process works on a store over a layer that logs its disk; from the log
come the images that a crash may leave; in each of them the store opens, its check finds nothing, and
everything that had been acknowledged is there.

    PYTHONPATH=tests python3 -m bed.images --images 10000
    PYTHONPATH=tests python3 -m bed.images --images 10000 --shards 2

With two shards there are two disks, of which each is left in its own way, and mail that crosses from one to the
other while they are cut off."""

import argparse
import os
import subprocess
import sys
import tempfile
import time

from bed import build

PER_RUN = 500  # images of one log: more of them would look much alike
OPERATIONS = {1: 1600, 2: 250}  # of one log, with so many shards; two: messages


MUTANTS = {1: ("ack-early", "ack-unsynced", "no-sync", "index-early", "reuse-early", "head-early", "hole-early"),
           2: ("ack-unsynced", "out-early", "forget-early")}


class Campaign:
    def __init__(self, binaries, work, shards=1):
        self.crash = os.path.join(binaries, "tests", "crash")
        self.work, self.shards = work, shards
        self.name = {1: "crash", 2: "crossing"}[shards]

    def program(self, name):
        return os.path.join(self.crash, name)

    def log(self, seed, operations, mutant=None):
        """Runs the process to its end; returns the name of its disk's log."""
        run = tempfile.mkdtemp(prefix="run-", dir=self.work)
        store, log = os.path.join(run, "store"), os.path.join(run, "log")
        os.makedirs(store if self.shards == 1 else store + "/shard1")  # where another disk is mounted
        env = {**os.environ, "LD_PRELOAD": self.program("disklog.so"), "BYPOST_DISKLOG": log,
               "BYPOST_DISKLOG_DIR": store}
        plain = mutant in (None, "relaxed")
        args = [self.program(self.name + ("_work" if plain else "_work_mutant")), store, str(seed),
                str(operations)] + ([mutant] if mutant else [])
        subprocess.run(args, env=env, check=True, timeout=300)
        return log

    def look(self, log, seed, images, relaxed=False):
        """(status, what it says): status 0, all images are right; 3, the campaign is not."""
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.work
        done = subprocess.run([self.program(self.name + "_check"), log, str(seed), str(images), where,
                               *(["relaxed"] if relaxed else [])],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=3600, check=False)
        return done.returncode, done.stdout.strip()

    def run(self, seed, images, operations=None, mutant=None):
        log = self.log(seed, operations or OPERATIONS[self.shards], mutant)
        status, text = self.look(log, seed, images, mutant == "relaxed")
        os.unlink(log)
        return status, text


def main():
    p = argparse.ArgumentParser(prog="bed.images")
    p.add_argument("--images", type=int, default=10000)
    p.add_argument("--seed", type=int, default=1, help="of the first run; the others follow")
    p.add_argument("--shards", type=int, choices=list(MUTANTS), default=1)
    p.add_argument("--mutant", choices=sorted(set(sum(MUTANTS.values(), ()))), help="must be caught")
    p.add_argument("--build", default=os.path.join(build.BUILD, "check", "gcc"))
    args = p.parse_args()
    if args.mutant and args.mutant not in MUTANTS[args.shards]:
        p.error("there is no such mutant with so many shards")
    began, left, seed = time.monotonic(), args.images, args.seed
    with tempfile.TemporaryDirectory(prefix="bypost-images-") as work:
        campaign = Campaign(args.build, work, args.shards)
        while left > 0:
            images = min(left, PER_RUN)
            status, text = campaign.run(seed, images, mutant=args.mutant)
            print(f"seed {seed}: {text}", flush=True)
            if status:
                return 0 if args.mutant and status != 3 else 1
            left, seed = left - images, seed + 1
    print(f"{args.images} images in {time.monotonic() - began:.0f} s")
    return 1 if args.mutant else 0


if __name__ == "__main__":
    sys.exit(main())
