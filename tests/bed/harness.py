# SPDX-License-Identifier: BSD-3-Clause
"""Tests of whole programs: how they are declared, and running one in a process of its own.

    @test("relay through tap", seconds=60)
    def relay_tap(work): ...

work is a folder of the test's own.  A test fails by any exception; Skip needs a reason of ABSENT."""

import contextlib
import glob
import importlib
import os
import socket
import sys
import time
import traceback

from bed import bed as beds
from bed import proc

# The only reasons to skip: something this machine's hardware or kernel does not have.
ABSENT = {
    "af_xdp": "the kernel has no AF_XDP sockets",
    "nft-random": "the kernel's nftables cannot drop at random",
    "hugepages": "the kernel has no huge pages to give",
}
SKIP_STATUS = 77
MODULES = {group: f"tests/{group}/test_*.py" for group in ("system", "crash", "bench")}


class Skip(Exception):
    """reason is a key of ABSENT."""


class Test:
    def __init__(self, name, function, seconds):
        self.name, self.function, self.seconds = name, function, seconds
        self.module = function.__module__


TESTS = {}


def test(name, seconds=60):
    """Declare a test; seconds is its limit."""
    def declare(function):
        TESTS.setdefault(function.__module__, []).append(Test(name, function, seconds))
        return function
    return declare


def discover(group):
    """The tests of a group in the order of their files."""
    found = []
    for path in sorted(glob.glob(os.path.join(proc.ROOT, MODULES[group]))):
        module = f"{group}.{os.path.basename(path)[:-3]}"
        importlib.import_module(module)
        found += TESTS.get(module, [])
    return found


def need_af_xdp():
    with contextlib.suppress(OSError):
        socket.socket(44, socket.SOCK_RAW, 0).close()
        return
    raise Skip("af_xdp")


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r}, got {got!r}")


HUGEPAGES, HUGEPAGES_BEFORE = "/proc/sys/vm/nr_hugepages", "hugepages.before"


def reserve_hugepages(work, pages):
    """Reserve pages until the test's sweep, which puts back what was there."""
    with open(HUGEPAGES) as f:
        before = f.read().strip()
    with open(os.path.join(work, HUGEPAGES_BEFORE), "w") as f:
        f.write(before)
    with open(HUGEPAGES, "w") as f:
        f.write(str(int(before) + pages))
    with open(HUGEPAGES) as f:
        return int(f.read()) - int(before)


def sweep(work):
    """End whatever beds a test left in its folder."""
    for kept in glob.glob(os.path.join(work, "**", HUGEPAGES_BEFORE), recursive=True):
        with open(kept) as f, open(HUGEPAGES, "w") as setting:
            setting.write(f.read())
        os.unlink(kept)
    for state in glob.glob(os.path.join(work, "**", beds.STATE), recursive=True):
        with contextlib.suppress(proc.Failure):
            beds.Bed.load(os.path.dirname(state)).stop()


def show_logs(work):
    for log in sorted(glob.glob(os.path.join(work, "**", "*.log"), recursive=True)):
        text = proc.tail(log, 25)
        if text:
            print(f"--- end of {os.path.relpath(log, work)}\n{text}", flush=True)


def main():
    """python3 -m bed.harness GROUP NAME WORK"""
    group, name, work = sys.argv[1:4]
    chosen = [t for t in discover(group) if t.name == name]
    if len(chosen) != 1:
        sys.exit(f"no test {name} in {group}")
    proc.interruptible()
    os.makedirs(work, exist_ok=True)
    os.chmod(work, 0o755)
    began = time.monotonic()
    try:
        chosen[0].function(work)
    except Skip as e:
        print(f"SKIP {e}")
        sys.exit(SKIP_STATUS)
    except proc.Failure as e:
        print(f"FAILED after {time.monotonic() - began:.1f} s: {e}", flush=True)
        show_logs(work)
        sys.exit(1)
    except Exception:
        print(f"FAILED after {time.monotonic() - began:.1f} s", flush=True)
        show_logs(work)
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
    finally:
        sweep(work)


if __name__ == "__main__":
    # One copy of this module: tests import it by name.
    importlib.import_module("bed.harness").main()
