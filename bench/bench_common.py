# SPDX-License-Identifier: BSD-3-Clause
"""What the scripts that measure share."""

import argparse
import contextlib
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HUGEPAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"


class Failure(Exception):
    """Something the user should read; no traceback is shown."""


def folder(path):
    """An option's value."""
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path}: no such folder")
    return path


@contextlib.contextmanager
def hugepages(wanted):
    """Reserve pages of 2 MiB until the end, if we may.  Yields how many there are."""
    try:
        with open(HUGEPAGES) as f:
            before = int(f.read())
        with open(HUGEPAGES, "w") as f:
            f.write(str(before + wanted))
        with open(HUGEPAGES) as f:
            ours = max(int(f.read()) - before, 0)
    except OSError:
        yield 0
        return
    try:
        yield ours
    finally:
        with open(HUGEPAGES) as f:  # others may have taken some meanwhile
            now = int(f.read())
        with open(HUGEPAGES, "w") as f:
            f.write(str(max(now - ours, 0)))


def memory_text(pages):
    return f"memory: {f'{pages} hugepages' if pages else 'pages of 4 KiB'}"
