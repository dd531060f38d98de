# SPDX-License-Identifier: BSD-3-Clause
"""Results of check: one line per test, time per group, and the closing line."""

import time

from bed import harness
from bed.proc import say

FAILED_LINES = 60


class Report:
    def __init__(self, strict):
        self.strict = strict
        self.passed = self.failed = self.skipped = self.cases = 0
        self.failures = []
        self.group_name, self.group_began = None, None
        self.began = time.monotonic()

    def group(self, name):
        self.end_group()
        self.group_name, self.group_began = name, time.monotonic()
        say(f"\n== {name}")

    def end_group(self):
        if self.group_name:
            say(f"== {self.group_name}: {time.monotonic() - self.group_began:.0f} s")
        self.group_name = None

    def line(self, word, name, seconds, note=""):
        say(f"  {word}  {name:<58} {seconds:7.1f} s{'  ' + note if note else ''}")

    def ok(self, name, seconds, cases=0):
        self.passed += 1
        self.cases += cases
        self.line("pass", name, seconds, f"{cases} cases" if cases else "")

    def fail(self, name, seconds, output):
        self.failed += 1
        self.failures.append(f"{self.group_name}: {name}")
        self.line("FAIL", name, seconds)
        for text in output.rstrip().splitlines()[-FAILED_LINES:]:
            say("        | " + text)

    def skip(self, name, seconds, reason):
        """reason: a key of harness.ABSENT, or anything else, which --strict does not accept."""
        if self.strict and reason not in harness.ABSENT:
            self.fail(name, seconds, f"skipped without a known reason: {reason or 'none given'}")
            return
        self.skipped += 1
        self.line("skip", name, seconds, harness.ABSENT.get(reason, reason or "no reason given"))

    def close(self):
        """Print the end; returns the exit status."""
        self.end_group()
        say(f"\n{time.monotonic() - self.began:.0f} s in all; {self.cases} cases inside the test "
            f"programs that passed")
        for name in self.failures:
            say(f"failed: {name}")
        say(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not self.passed else 0
