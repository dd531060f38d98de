# SPDX-License-Identifier: BSD-3-Clause
"""The DNS server of a bed: NSD with the zones example.org (ours) and example.net (the world)."""

import os

from bed import peers

CONF = """server:
  ip-address: {ip}@53
  username: ""
  chroot: ""
  zonesdir: "{dir}"
  database: ""
  pidfile: "{dir}/nsd.pid"
  zonelistfile: "{dir}/zone.list"
  xfrdfile: "{dir}/xfrd.state"
  xfrdir: "{dir}"
  server-count: 1
  verbosity: 0
remote-control:
  control-enable: no
zone:
  name: example.org
  zonefile: example.org.zone
zone:
  name: example.net
  zonefile: example.net.zone
"""

START = """$ORIGIN {zone}.
$TTL 60
@ SOA ns.{zone}. hostmaster.{zone}. 1 60 60 600 5
@ NS ns
ns A {dns}
"""

OURS = """@ MX 10 mail
mail A {relay}
mail AAAA {relay6}
"""

# remote: the sink, as every subdomain; the others are for tests of single cases.
WORLD = """mx.sink A {sink}
mx.dead A {dead}
mx.reject A {reject}
remote MX 10 mx.sink
*.remote MX 10 mx.sink
dead MX 10 mx.dead
*.dead MX 10 mx.dead
reject MX 10 mx.reject
preferred MX 20 mx.sink
preferred MX 10 mx.dead
address A {sink}
mx.six AAAA {sink6}
six MX 10 mx.six
mx.both AAAA {dead6}
mx.both A {sink}
both MX 10 mx.both
null MX 0 .
"""


def write(bed):
    """Configuration and zone files into the bed's folder; returns the command that serves them."""
    folder = bed.path("dns")
    os.makedirs(folder, exist_ok=True)
    facts = {"dns": bed.dns_ip, "relay": bed.relay, "relay6": bed.relay6, "sink6": bed.sink6_ip,
             "dead6": bed.dead6_ip, "sink": bed.sink_ip, "dead": bed.dead_ip,
             "reject": bed.reject_ip}
    files = {
        "nsd.conf": CONF.format(ip=bed.dns_ip, dir=folder),
        "example.org.zone": START.format(zone="example.org", **facts) + OURS.format(**facts),
        "example.net.zone": START.format(zone="example.net", **facts) + WORLD.format(**facts),
    }
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    return [peers.path("nsd"), "-d", "-c", os.path.join(folder, "nsd.conf")]
