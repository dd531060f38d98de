# SPDX-License-Identifier: BSD-3-Clause
"""What the checkers share: the project's C files, and how a checker reports and proves itself.

A checker is a function check(path, text) -> [(line, message)], path relative to the project's root.
It comes with mutants, (path, text) pairs that must each be found, and with innocents that must not."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ["dataplane", "smtp", "store", "delivery", "bench", "tests"]


def files(suffixes=(".c", ".h", ".def")):
    """(path relative to the root, text) of all sources, sorted."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def self_test(check, mutants, innocents):
    for path, text in mutants:
        if not check(path, text):
            sys.exit(f"self-test: a mutant was not found: {path}: {text!r}")
    for path, text in innocents:
        if found := check(path, text):
            sys.exit(f"self-test: an innocent was accused: {path}: {text!r}: {found}")
    print(f"self-test: {len(mutants)} mutants found, {len(innocents)} innocents left alone")


def run(check, mutants, innocents, suffixes=(".c", ".h", ".def")):
    """The checker's main(): proves itself, then checks the tree (with --self-test: only the former)."""
    self_test(check, mutants, innocents)
    if "--self-test" in sys.argv[1:]:
        return
    seen = bad = 0
    for path, text in files(suffixes):
        seen += 1
        for line, message in check(path, text):
            print(f"{path}:{line}: {message}")
            bad += 1
    print(f"{seen} files, {bad} findings")
    sys.exit(1 if bad or not seen else 0)
