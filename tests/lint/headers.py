#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""headers.py CC BUILDDIR: each header compiles alone, with the flags of a file of its folder."""
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
import source


def flags_by_folder(build):
    """Compile flags of one file per folder; the include path is relative to the build folder."""
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        words = shlex.split(entry["command"])
        # behind the compiler, and a launcher (ccache) before it
        words = words[next((i for i, w in enumerate(words) if w.startswith("-")), len(words)):]
        keep, skip = [], False
        for word in words:
            if skip:
                skip = False
            elif word in ("-o", "-c", "-MF", "-MQ"):
                skip = True
            elif word != "-MD":
                keep.append(word)
        if file.is_relative_to(source.ROOT):
            flags.setdefault(file.parent.relative_to(source.ROOT).as_posix(), keep)
    return flags


def flags_of(path, flags):
    """Of the nearest folder upwards that has a compiled file; tests see everything."""
    folder = pathlib.PurePosixPath(path).parent
    while folder.as_posix() not in flags and folder != folder.parent:
        folder = folder.parent
    return flags.get(folder.as_posix()) or flags.get("dataplane") or []


def compile_alone(cc, build, words, include):
    """The compiler's messages; empty: it compiles."""
    command = [*cc, *words, "-Werror", "-Wno-pragma-once-outside-header", "-fsyntax-only", "-x", "c", "-"]
    done = subprocess.run(command, input=f'#include "{include}"\nextern int unused_;\n', text=True,
                          capture_output=True, cwd=build)
    return "" if done.returncode == 0 else done.stderr or "failed"


def self_test(cc, build, words):
    with tempfile.TemporaryDirectory() as folder:
        bad = pathlib.Path(folder) / "bad.h"
        bad.write_text("#pragma once\nstatic inline size_t f(struct bytes b) { return b.n; }\n")
        good = pathlib.Path(folder) / "good.h"
        good.write_text('#pragma once\n#include "dataplane/base/bytes.h"\n'
                        "static inline size_t f(struct bytes b) { return b.n; }\n")
        if not compile_alone(cc, build, words, bad):
            sys.exit("self-test: a header that does not compile alone was not found")
        if message := compile_alone(cc, build, words, good):
            sys.exit(f"self-test: a good header was accused:\n{message}")
    print("self-test: 1 mutant found, 1 innocent left alone")


def main():
    cc, build = shlex.split(sys.argv[1]), pathlib.Path(sys.argv[2])
    flags = flags_by_folder(build)
    self_test(cc, build, flags["dataplane"])
    headers = [path for path, _ in source.files((".h",))]
    bad = 0
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda h: compile_alone(cc, build, flags_of(h, flags), h), headers)
        for header, message in zip(headers, results):
            if message:
                print(f"{header} does not compile alone:\n{message}")
                bad += 1
    print(f"{len(headers)} headers, {bad} findings")
    sys.exit(1 if bad or not headers else 0)


if __name__ == "__main__":
    main()
