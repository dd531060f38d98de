#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""No function over 70 lines, no file over 1,000: they ask for a second one.  Also what every file has:
a licence line, and in a header a guard."""
import re
import source

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
# A definition as clang-format leaves it: the brace that opens it alone in the first column.
OPEN, CLOSE = re.compile(r"^\{\s*$"), re.compile(r"^\}\s*$")
NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*\(")


def name_before(lines, index):
    """Name of the function whose body opens at index."""
    while index > 0 and not re.match(r"^[A-Za-z_]", lines[index]):
        index -= 1
    match = NAME.search(lines[index])
    return match.group(1) if match else "?"


def check(path, text):
    found = []
    lines = text.splitlines()
    opened = None
    if "SPDX-License-Identifier: BSD-3-Clause" not in (lines[0] if lines else ""):
        found.append((1, "no licence line"))
    if path.endswith(".h") and "#pragma once" not in text:
        found.append((1, "no #pragma once"))
    if len(lines) > FILE_LINES_MAX:
        found.append((len(lines), f"{len(lines)} lines in a file, {FILE_LINES_MAX} at most"))
    for number, line in enumerate(lines, 1):
        if OPEN.match(line):
            opened = number
        elif CLOSE.match(line) and opened:
            # As people count: without the line of the name and the braces.
            if (n := number - opened - 1) > FUNCTION_LINES_MAX:
                name = name_before(lines, opened - 2)
                found.append((opened, f"{name}: {n} lines, {FUNCTION_LINES_MAX} at most"))
            opened = None
    return found


LICENCE = "/* SPDX-License-Identifier: BSD-3-Clause */\n"
MUTANTS = [
    ("smtp/a.c", LICENCE + "static int f(int a)\n{\n" + "\tg();\n" * 71 + "}\n"),
    ("smtp/a.c", LICENCE + "int x;\n" * 1000),
    ("smtp/a.c", "int x;\n"),
    ("smtp/a.h", LICENCE + "int x;\n"),
]
INNOCENTS = [
    ("smtp/a.c", LICENCE + "static int f(int a)\n{\n" + "\tg();\n" * 70 + "}\n"),
    ("smtp/a.c", LICENCE + "static const int t[] = {\n" + "\t1,\n" * 100 + "};\n"),
    ("smtp/a.h", LICENCE + "#pragma once\n" + "int x;\n" * 900),
]

if __name__ == "__main__":
    source.run(check, MUTANTS, INNOCENTS, (".c", ".h"))
