#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A file includes only from its own room or from one below (docs/architecture.md)."""
import re
import source

# Room -> rooms it may include from, besides itself.  The longest prefix names a file's room.
ROOMS = {
    "dataplane/base/": [],
    "dataplane/base/rt/": ["dataplane/base/"],
    "dataplane/": ["dataplane/base/", "dataplane/base/rt/"],
    "dataplane/tls/": ["dataplane/base/", "dataplane/base/rt/", "dataplane/"],
    "smtp/": ["dataplane/base/", "dataplane/base/rt/", "dataplane/", "dataplane/tls/"],
    "store/": ["dataplane/base/", "dataplane/base/rt/", "smtp/"],
    "store/access/": ["dataplane/base/", "dataplane/base/rt/", "dataplane/", "dataplane/tls/", "smtp/",
                      "store/"],
    "store/pop3/": ["dataplane/base/", "dataplane/base/rt/", "dataplane/", "smtp/", "store/",
                    "store/access/"],
    "store/imap/": ["dataplane/base/", "dataplane/base/rt/", "dataplane/", "smtp/", "store/",
                    "store/access/"],
    "delivery/": ["dataplane/base/", "dataplane/base/rt/", "dataplane/", "dataplane/tls/", "smtp/",
                  "store/"],
    "store/control/": None,  # everything
    "store/ctl/": ["dataplane/base/"],
    "bench/": ["dataplane/base/", "dataplane/base/rt/", "dataplane/", "dataplane/tls/", "smtp/",
               "store/", "delivery/"],
    "tests/": None,
}
# Rooms that do without DPDK.
NO_DPDK = ["dataplane/base/", "store/ctl/"]

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def room_of(path):
    return max((r for r in ROOMS if path.startswith(r)), key=len, default=None)


def allowed(room, target):
    return target == room or ROOMS[room] is None or target in ROOMS[room]


def check(path, text):
    found = []
    room = room_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, name = match.groups()
        if quote == "<":
            if name.startswith("rte_") and room in NO_DPDK:
                found.append((number, f"{room} does without DPDK: <{name}>"))
        elif not (target := room_of(name)):
            found.append((number, f'"{name}" is not from the root of the project'))
        elif not allowed(room, target):
            found.append((number, f'{room} must not include from {target}: "{name}"'))
    return found


MUTANTS = [
    ("dataplane/base/log.c", '#include "dataplane/base/rt/eal.h"\n'),
    ("dataplane/base/log.c", "#include <rte_ring.h>\n"),
    ("dataplane/base/rt/waker.c", '#include "dataplane/stack.h"\n'),
    ("dataplane/tcp_in.c", '#include "smtp/server.h"\n'),
    ("smtp/data.c", '# include "store/store.h"\n'),
    ("store/writer.c", '#include "dataplane/dataplane.h"\n'),
    ("store/writer.c", '#include "delivery/delivery.h"\n'),
    ("delivery/conn.c", '#include "store/imap/imap_server.h"\n'),
    ("store/pop3/pop3.c", '#include "store/imap/imap_server.h"\n'),
    ("store/ctl/main.c", '#include "dataplane/base/rt/channel.h"\n'),
    ("store/ctl/main.c", '#include "store/store.h"\n'),
    ("smtp/data.c", '#include "data.h"\n'),
]
INNOCENTS = [
    ("dataplane/base/rt/waker.c", '#include "dataplane/base/check.h"\n#include <rte_ring.h>\n'),
    ("smtp/data.c", '#include "smtp/data.h"\n#include "dataplane/dataplane.h"\n#include <string.h>\n'),
    ("delivery/dns/service.c", '#include "delivery/dns/dns.h"\n#include "store/store.h"\n'),
    ("store/control/main.c", '#include "delivery/delivery.h"\n#include "store/ctl/protocol.h"\n'),
    ("store/ctl/main.c", '#include "store/ctl/screen.h"\n#include "dataplane/base/buf.h"\n'),
]

if __name__ == "__main__":
    source.run(check, MUTANTS, INNOCENTS)
