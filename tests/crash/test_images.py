# SPDX-License-Identifier: BSD-3-Clause
"""Power cuts: the store on every disk that the contract of the disk allows after a crash.  The same
look must catch a writer that answers before the commit, and one that does not sync."""

import os

from bed.harness import equal, expect, test
from bed.images import Campaign

IMAGES = 200
MUTANT_IMAGES = 200


def campaign(work):
    os.makedirs(work, exist_ok=True)
    return Campaign(os.environ["BYPOST_BUILD"], work)


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


def must_be_caught(work, mutant):
    status, text = campaign(work).run(7, MUTANT_IMAGES, mutant=mutant)
    print(f"status {status}: {text}")
    # A store that is torn may also bring the look down: this is no campaign that failed.
    expect(status not in (0, 2, 3), f"the mutant {mutant} was not caught: {text}")


@test("power cut: a writer that answers before the commit is caught", seconds=120)
def ack_early(work):
    must_be_caught(work, "ack-early")


@test("power cut: a writer that answers before the meta page is synced is caught", seconds=120)
def ack_unsynced(work):
    must_be_caught(work, "ack-unsynced")


@test("power cut: a writer that does not sync is caught", seconds=120)
def no_sync(work):
    must_be_caught(work, "no-sync")
