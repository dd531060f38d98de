#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""No polling core touches LMDB's map: a cold page is disk I/O in whoever reads it.  So mdb_* occurs
only in the store's files that run on the writer and reader threads, or open and check the store."""
import re
import source

PLACES = re.compile(r"^store/((writer|reader|open|check|db|body|blob|gc)[a-z0-9_]*\.[ch]|store(_priv)?\.[ch])$")
# Tests may look into a store that nobody has open.
TESTS = re.compile(r"^tests/")
USE = re.compile(r"\b(mdb_[a-z_]+\s*\(|MDB_(?:txn|env|cursor)\b)|#\s*include\s*<lmdb\.h>")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def check(path, text):
    if PLACES.match(path) or TESTS.match(path):
        return []
    # Comments may speak of LMDB; their lines stay, for the numbers.
    code = COMMENT.sub(lambda m: "\n" * m.group().count("\n"), text)
    return [
        (number, f"LMDB outside of the writer's and readers' files: {line.strip()}")
        for number, line in enumerate(code.splitlines(), 1)
        if USE.search(line)
    ]


MUTANTS = [
    ("smtp/server.c", "x = mdb_get(txn, dbi, &k, &v);\n"),
    ("store/imap/fetch.c", "#include <lmdb.h>\n"),
    ("store/directory.c", "/* one */\n\tmdb_txn_begin (env, NULL, 0, &txn);\n"),
    ("delivery/queue.c", "static MDB_txn *txn;\n"),
    ("store/imap/writer.c", "mdb_put(txn, dbi, &k, &v, 0);\n"),
]
INNOCENTS = [
    ("store/writer_group.c", "rc = mdb_txn_commit(txn);\n"),
    ("store/reader.c", "#include <lmdb.h>\n"),
    ("smtp/server.c", "/* never mdb_get(here) */\nint mdb = 0; // mdb_put(x)\n"),
]

if __name__ == "__main__":
    source.run(check, MUTANTS, INNOCENTS, (".c", ".h"))
