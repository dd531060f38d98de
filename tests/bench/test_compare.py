# SPDX-License-Identifier: BSD-3-Clause
"""bench/compare, run for seconds with every server: the tooling, not the figures."""

import json
import os
import xml.dom.minidom

from bed import proc
from bed.harness import equal, expect, test

SERVERS = {"postfix", "exim", "opensmtpd", "dovecot", "bypost"}


@test("bench: the comparison with other servers", seconds=240)
def compare(work):
    done = proc.run([os.path.join(proc.ROOT, "bench", "compare"), "--smoke", "--build",
                     os.environ["BYPOST_BUILD"], "--out", work + "/out"], check=False, timeout=230)
    equal(done.returncode, 0, "exit status, of\n" + done.stdout)
    with open(work + "/out/compare.json") as f:
        result = json.load(f)
    rows = result["rows"]
    equal({r["target"] for r in rows}, SERVERS, "servers")
    equal({r["kind"] for r in rows if r["target"] == "bypost"}, {"relay", "backlog", "accept"}, "kinds")
    for r in rows:
        expect(r["accepted"] > 0 and r["memory"] > 0, f"{r}")
        # a server may need longer than this to come back to a next hop that was down
        expect(r["cpu_user_us"] is not None or r["undelivered"], f"{r}")
        equal([r.get(k, 0) for k in ("lost", "doubled", "altered", "forged")], [0] * 4, f"faults: {r}")
    expect(all(r["per_s"] > 0 for r in result["raw"].values()), "the generator alone")
    plots = [f for f in os.listdir(work + "/out") if f.endswith(".svg")]
    equal(len(plots), 4, "plots")
    for name in plots:
        xml.dom.minidom.parse(os.path.join(work, "out", name))
    with open(work + "/out/compare.md") as f:
        expect("generator and sink alone" in f.read(), "the table")
