# SPDX-License-Identifier: BSD-3-Clause
"""The soak in short: everything in it works, and the store is whole at the end."""

import json
import os
import xml.dom.minidom

from bed import proc
from bed.harness import equal, test


@test("bench: the soak for 20 seconds", seconds=150)
def soak(work):
    os.makedirs(work, exist_ok=True)
    proc.run([os.path.join(proc.ROOT, "bench", "soak"), "--build", os.environ["BYPOST_BUILD"],
              "--smoke", "--rate", "40", "--json", work + "/soak.json", "--plot", work + "/soak.svg"],
             timeout=140)
    with open(work + "/soak.json") as f:
        result = json.load(f)
    equal((result["errors"], result["check"]), ([], 0), "errors and the check")
    drawn = xml.dom.minidom.parse(work + "/soak.svg").getElementsByTagName("polyline")
    equal(len(drawn), 5, "lines of the plot")
