# SPDX-License-Identifier: BSD-3-Clause
"""A wire between the stack and the kernel's TCP, through a router that loses packets.

    NAME-c: kernel      NAME: router                         NAME-r: the stack (af_packet, af_xdp)
    up0 ------------- down0   bed0 ------------------------- relay0
                              dtap: the stack itself (tap)

The router forwards, IPv4 and IPv6, and drops in its forward hook: what the sender's kernel has sent is
lost on the way, not refused.  What was lost is counted."""

import contextlib
import json
import os
import signal

from bed import bed as beds
from bed import build, net, proc

PEER = "tests/system/tcp_peer"
VLAN_PROGRAM = os.path.join(os.path.dirname(__file__), "../system/vlan.bpf.c")
STACK, ROUTER, CLIENT, ROUTER_CLIENT = "198.18.0.2", "198.18.0.1", "198.18.20.2", "198.18.20.1"
STACK6, ROUTER6 = "2001:2:0:1::2", "2001:2:0:1::1"
CLIENT6, ROUTER_CLIENT6 = "2001:2:0:20::2", "2001:2:0:20::1"
ECHO, SINK, SOURCE, KERNEL_ECHO = 7, 9, 19, 7007
RULES = """table inet loss {{
    counter seen_in {{ }}
    counter seen_out {{ }}
    counter lost_in {{ }}
    counter lost_out {{ }}
    chain wire {{
        type filter hook forward priority 0; policy accept;
        iifname "down0" counter name seen_in
        oifname "down0" counter name seen_out
        iifname "down0" numgen random mod 1000 < {0} counter name lost_in drop
        oifname "down0" numgen random mod 1000 < {0} counter name lost_out drop
    }}
}}
"""


SILENCE = """table inet silence {
    chain out {
        type filter hook output priority 0; policy accept;
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
"""


class Wire(beds.Bed):
    """One wire; the state file is that of a bed, so that whoever sweeps beds sweeps wires."""

    def __init__(self, folder, port="tap", mtu=1500, loss=0, **peer):
        super().__init__(folder, port=port, sink=False, users=False)
        self.mtu, self.loss, self.peer_options = mtu, loss, peer
        self.client_ns = self.name + "-c"

    def start(self):
        os.makedirs(self.dir, exist_ok=True)
        self.save()
        try:
            self.lay()
            self.start_peer()
        except BaseException:
            self.stop()
            raise
        return self

    def lay(self):
        self.namespaces = [self.client_ns, self.ns] + [self.relay_ns] * (self.port != "tap")
        self.save()
        for namespace in self.namespaces:
            net.add_namespace(namespace)
            net.sysctl(namespace, {
                "ipv6/conf/all/disable_ipv6": 0, "ipv6/conf/default/disable_ipv6": 0,
                "ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/autoconf": 0,
                "ipv6/conf/default/accept_ra": 0, "ipv4/tcp_no_metrics_save": 1,
                "ipv4/tcp_congestion_control": "cubic"})
        net.veth(self.client_ns, "up0", self.ns, "down0")
        if self.port != "tap":
            net.veth(self.ns, self.interface, self.relay_ns, self.device)
            net.sysctl(self.relay_ns, {f"ipv6/conf/{self.device}/disable_ipv6": 1})
            net.ip(self.relay_ns, "link", "set", self.device, "arp", "off")
            net.ip(self.relay_ns, "link", "set", self.device, "mtu", str(self.mtu))
            self.set_up_router_side()
        self.set_up(self.client_ns, "up0", CLIENT + "/24", CLIENT6 + "/64")
        self.set_up(self.ns, "down0", ROUTER_CLIENT + "/24", ROUTER_CLIENT6 + "/64")
        net.sysctl(self.ns, {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1,
                             "ipv4/icmp_ratelimit": 0, "ipv6/icmp/ratelimit": 0})
        net.ip(self.client_ns, "route", "add", "default", "via", ROUTER_CLIENT)
        net.ip(self.client_ns, "-6", "route", "add", "default", "via", ROUTER_CLIENT6)
        proc.run(["ip", "netns", "exec", self.ns, "nft", "-f", "-"],
                 input=RULES.format(int(self.loss * 10)))

    def set_up(self, namespace, interface, *addresses):
        net.ip(namespace, "link", "set", interface, "mtu", str(self.mtu), "up")
        for a in addresses:
            net.ip(namespace, *(["-6"] if ":" in a else []), "addr", "replace", a, "dev", interface,
                   *(["nodad"] if ":" in a else []))

    def set_up_router_side(self):
        if "vlan" in self.peer_options:
            self.tag(self.peer_options["vlan"])
        self.set_up(self.ns, self.interface, ROUTER + "/24", ROUTER6 + "/64")

    def tag(self, vlan):
        """The router's end of the link is in a VLAN: its kernel puts tags in and takes them off."""
        program = self.path("vlan.o")
        proc.run(["clang", "-O2", "-g", "-target", "bpf", f"-DVLAN={vlan}",
                  "-I/usr/include/x86_64-linux-gnu", "-c", VLAN_PROGRAM, "-o", program])
        inside = ["ip", "netns", "exec", self.ns]
        # XDP does not see a tag that the kernel carries beside the frame
        proc.run([*inside, "ethtool", "-K", self.interface, "txvlan", "off"], check=False)
        proc.run([*inside, "tc", "qdisc", "add", "dev", self.interface, "clsact"])
        for way, section in (("egress", "push"), ("ingress", "pop")):
            proc.run([*inside, "tc", "filter", "add", "dev", self.interface, way, "bpf", "da",
                      "obj", program, "sec", section])

    def untag(self):
        proc.run(["ip", "netns", "exec", self.ns, "tc", "qdisc", "del", "dev", self.interface, "clsact"])

    def narrow(self, mtu, silent=False):
        """The router's link to the client takes less than the ends believe; silent: it does not say
        so.  What the client itself sends is small, or its own end would refuse it."""
        net.ip(self.ns, "link", "set", "down0", "mtu", str(mtu))
        for family, via in (("-4", ROUTER_CLIENT), ("-6", ROUTER_CLIENT6)):
            if family == "-6" and mtu < 1280:
                continue  # no IPv6 over such a link
            net.ip(self.client_ns, family, "route", "replace", "default", "via", via, "mtu",
                   str(mtu), "advmss", str(self.mtu - (40 if family == "-4" else 60)))
        if silent:
            proc.run(["ip", "netns", "exec", self.ns, "nft", "-f", "-"], input=SILENCE)

    # ---- the stack ----

    def peer_options_all(self):
        return {"port": f"{self.port},{self.device}", "address": [STACK + "/24", STACK6 + "/64"],
                "gateway": ROUTER, "gateway6": ROUTER6, "mtu": self.mtu, "prefix": self.name, **self.peer_options}

    def log_of(self, name):
        return self.path(name + ".log")

    def peer_alive(self, name="peer"):
        if not proc.alive(self.processes[name]):
            raise proc.Failure("tcp_peer ended:\n" + proc.tail(self.log_of(name)))
        return True

    def lines(self, start, name="peer"):
        with contextlib.suppress(OSError), open(self.log_of(name)) as f:
            return [line for line in f if line.startswith(start) and line.endswith("\n")]
        return []

    def start_stack(self, name, options):
        before = len(self.lines("ready", name))
        self.start_process(name, [build.program(self.binaries, PEER),
                                  *(f"{k}={v}" for k, values in options.items()
                                    for v in (values if isinstance(values, list) else [values]))],
                           namespace=self.relay_ns)
        proc.wait_for("tcp_peer", lambda: self.peer_alive(name)
                      and len(self.lines("ready", name)) > before, 30)

    def start_peer(self):
        self.start_stack("peer", self.peer_options_all())
        if self.port == "tap":
            self.set_up_router_side()

    def figures(self, name="peer"):
        """The peer's counters as they are now."""
        before = len(self.lines("{", name))
        proc.send(self.processes[name], signal.SIGUSR1)
        proc.wait_for("figures", lambda: self.peer_alive(name)
                      and len(self.lines("{", name)) > before, 10)
        return json.loads(self.lines("{", name)[-1])

    def stop_peer(self, name="peer"):
        """Its last counters; it must end by itself and well."""
        record = self.processes[name]
        gone = proc.stop(record, 20)
        status = proc.exit_status(record)
        self.processes.pop(name)
        self.save()
        if not gone or status != 0:
            raise proc.Failure(f"tcp_peer ended with {status}:\n" + proc.tail(self.log_of(name)))
        return json.loads(self.lines("{", name)[-1])

    def lost(self):
        """{seen_in, seen_out, lost_in, lost_out} of the router: packets."""
        text = proc.run(["ip", "netns", "exec", self.ns, "nft", "-j", "list", "counters"]).stdout
        return {c["counter"]["name"]: c["counter"]["packets"]
                for c in json.loads(text)["nftables"] if "counter" in c}


class Cable(Wire):
    """Two stacks joined by memif; no kernel between them."""

    def __init__(self, folder, **peer):
        super().__init__(folder, port="memif", **peer)
        self.relay_ns = self.ns

    def lay(self):
        self.namespaces = [self.ns]
        self.save()
        net.add_namespace(self.ns)

    def start_peer(self):
        # A Unix socket's path has 107 octets at most.
        self.socket = f"/run/{self.name}.memif"
        self.start_stack("peer", {"port": "memif," + self.socket, "address": STACK + "/24",
                                  "prefix": self.name, **self.peer_options})

    def start_client(self, connections, octets, **options):
        """A second stack that opens connections to the first one's echo."""
        self.start_stack("client", {
            "port": f"memif,{self.socket},role=client", "address": ROUTER + "/24",
            "prefix": self.name + "b", "connect": f"{STACK},{ECHO},{connections},{octets}",
            **self.peer_options, **options})

    def tear_down(self):
        super().tear_down()
        proc.remove_tree(f"/var/run/dpdk/{self.name}b")
