# SPDX-License-Identifier: BSD-3-Clause
"""Power cuts: the store on every disk that the contract of the disk allows after a crash.  The same
look must catch a writer that answers before the commit, and one that does not sync."""

import os
import re

from bed.harness import equal, expect, test
from bed.images import Campaign

IMAGES = 200
MUTANT_IMAGES = 200


def campaign(work, shards=1):
    os.makedirs(work, exist_ok=True)
    return Campaign(os.environ["BYPOST_BUILD"], work, shards)


@test(f"power cut: {IMAGES} images of a disk, nothing acknowledged is lost", seconds=120)
def power_cut(work):
    status, text = campaign(work).run(20260302, IMAGES)
    print(text)
    equal(status, 0, text)


@test("power cut, store.mode relaxed: mail may be lost, but the store is whole", seconds=120)
def relaxed(work):
    status, text = campaign(work).run(11, IMAGES, mutant="relaxed")
    print(text)
    equal(status, 0, text)


@test(f"power cut, two shards: {IMAGES} images of two disks, what crosses is neither lost nor doubled", seconds=120)
def two_shards(work):
    status, text = campaign(work, 2).run(20260302, IMAGES)
    print(text)
    equal(status, 0, text)
    # The images are worth something only if they fall into the courier's steps.
    places = [int(n) for n in re.findall(r"(\d+) before", text)]
    expect(len(places) == 3 and all(places), f"a step was never cut off: {text}")


@test("power cut while a store is being made, one shard and two: it is made at the next start", seconds=120)
def while_it_is_made(work):
    for shards in (1, 2):
        status, text = campaign(work, shards).run(11, IMAGES, operations=8 if shards == 1 else 2)
        print(text)
        equal(status, 0, text)


def must_be_caught(work, mutant, shards=1):
    status, text = campaign(work, shards).run(7, MUTANT_IMAGES, mutant=mutant)
    print(f"status {status}: {text}")
    # A store that is torn may also bring the look down: this is no campaign that failed.
    expect(status not in (0, 2, 3), f"the mutant {mutant} was not caught: {text}")


@test("power cut: a writer that answers before the commit is caught", seconds=120)
def ack_early(work):
    must_be_caught(work, "ack-early")


@test("power cut: a writer that answers before the journal is synced is caught", seconds=120)
def ack_unsynced(work):
    must_be_caught(work, "ack-unsynced")


@test("power cut: a writer that does not sync is caught", seconds=120)
def no_sync(work):
    must_be_caught(work, "no-sync")


@test("power cut: a slot of the journal that is used again before a checkpoint is caught", seconds=120)
def reuse_early(work):
    must_be_caught(work, "reuse-early")


@test("power cut: a checkpoint that is noted before its pages are synced is caught", seconds=120)
def head_early(work):
    must_be_caught(work, "head-early")


@test("power cut: a hole in place of pages that a checkpoint needs is caught", seconds=120)
def hole_early(work):
    must_be_caught(work, "hole-early")


@test("power cut: an index that says it has what it has not is caught", seconds=120)
def index_early(work):
    must_be_caught(work, "index-early")


@test("power cut, two shards: what leaves one disk before it is on the other is missed", seconds=120)
def out_early(work):
    must_be_caught(work, "out-early", 2)


@test("power cut, two shards: what is forgotten before it has left is noticed", seconds=120)
def forget_early(work):
    must_be_caught(work, "forget-early", 2)


@test("power cut, two shards: a writer that answers before the journal is synced is caught", seconds=120)
def unsynced_in(work):
    must_be_caught(work, "ack-unsynced", 2)
