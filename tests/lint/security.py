#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/security.md: every case has a test, and every test that it names is there.

    security.py ROOT

A test is `file` or `file:name`; the name is a test function, or words of a test's title."""
import os
import re
import sys

CASES = 43
ROW = re.compile(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$", re.M)
NAME = re.compile(r"`([^`]+)`")


def missing(root, name):
    """Why a name stands for nothing; None: it is there."""
    path, _, word = name.partition(":")
    full = os.path.join(root, "tests", path)
    if not os.path.exists(full):
        return f"no file tests/{path}"
    if not word:
        return None
    if os.path.isdir(full):
        return f"{path} is a folder"
    with open(full, encoding="utf-8") as f:
        return None if word in f.read() else f"no {word} in tests/{path}"


def wrong(root, text):
    rows = ROW.findall(text)
    have = [int(row[0]) for row in rows]
    for case in range(1, CASES + 1):
        if have.count(case) != 1:
            yield f"case {case} has {have.count(case)} rows"
    for case, _, _, tests in rows:
        names = NAME.findall(tests)
        if not names and not tests.startswith("not here: "):
            yield f"case {case}: no test"
        for name in names:
            if why := missing(root, name):
                yield f"case {case}: {why}"


def self_test(root, text):
    """A check that finds nothing must be able to."""
    for before, after in ((r"^\| 7 .*\n", ""), (r"case_07_starttls_state", "case_07_no_such"),
                          (r":test_xtext_hides_nothing", ":test_no_such")):
        mutant = re.sub(before, after, text, count=1, flags=re.M)
        if mutant == text or not list(wrong(root, mutant)):
            sys.exit(f"self-test: {before} was not found out")


def main():
    root = sys.argv[1]
    with open(os.path.join(root, "docs/security.md"), encoding="utf-8") as f:
        text = f.read()
    self_test(root, text)
    findings = list(wrong(root, text))
    for finding in findings:
        print("docs/security.md: " + finding)
    print(f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
