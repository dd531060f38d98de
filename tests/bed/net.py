# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces and interfaces of a bed.

    tap                                     af_packet, af_xdp
    BED_NS: clients, sink, DNS, bypostd     BED_NS: clients, sink, DNS   NS-r: bypostd
            dtap (made by bypostd)                  bed0 ---------------- relay0 (no kernel address)
                                                    dns0 ---------------- dns0  (for its resolver)

Addresses that must outlive a restart of bypostd (sink, DNS) are on lo of BED_NS."""

import contextlib
import os

from bed.proc import inside, run, wait_for


def ip(namespace, *args, check=True):
    return run(["ip", "-n", namespace, *args], check=check)


def exists(namespace):
    return os.path.exists(f"/var/run/netns/{namespace}")


def sysctl(namespace, settings):
    with inside(namespace):
        for name, value in settings.items():
            with contextlib.suppress(OSError), open("/proc/sys/net/" + name, "w") as f:
                f.write(str(value))


def add_namespace(namespace):
    run(["ip", "netns", "add", namespace])
    # Only our own packets are on the wire; a source address is asked about on its own network.
    sysctl(namespace, {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1,
                       "ipv4/conf/all/arp_announce": 2, "ipv4/conf/all/rp_filter": 0,
                       "ipv4/conf/default/rp_filter": 0})
    ip(namespace, "link", "set", "lo", "up")


def remove_namespace(namespace):
    """Interfaces first: a namespace somebody still sits in lives on without its name."""
    if not exists(namespace):
        return
    for line in ip(namespace, "-o", "link", check=False).stdout.splitlines():
        name = line.split(":")[1].strip().split("@")[0]
        if name != "lo":
            ip(namespace, "link", "del", name, check=False)
    run(["ip", "netns", "del", namespace], check=False)


def offloads_off(namespace, interface):
    """Complete checksums and single frames: what a wire would carry."""
    run(["ip", "netns", "exec", namespace, "ethtool", "-K", interface, "tx", "off", "rx", "off",
         "tso", "off", "gso", "off", "gro", "off", "sg", "off"], check=False)


def veth(ns_a, name_a, ns_b, name_b):
    ip(ns_a, "link", "add", name_a, "type", "veth", "peer", "name", name_b, "netns", ns_b)
    for namespace, name in ((ns_a, name_a), (ns_b, name_b)):
        offloads_off(namespace, name)
        ip(namespace, "link", "set", name, "up")


def address(namespace, interface, *addresses):
    for a in addresses:
        ip(namespace, "addr", "replace", a, "dev", interface, *(["nodad"] if ":" in a else []))


def build(bed):
    """All but what bypostd makes itself."""
    add_namespace(bed.ns)
    sysctl(bed.ns, {"ipv6/conf/all/disable_ipv6": 0, "ipv6/conf/default/disable_ipv6": 0,
                    "ipv6/conf/lo/disable_ipv6": 0, "ipv6/conf/default/accept_dad": 0,
                    "ipv6/conf/default/accept_ra": 0, "ipv6/conf/default/autoconf": 0})
    address(bed.ns, "lo", *(a + "/32" for a in (bed.sink_ip, bed.dead_ip, bed.reject_ip)),
            *(a + "/128" for a in (bed.sink6_ip, bed.dead6_ip)))
    if bed.port == "tap":
        address(bed.ns, "lo", bed.dns_ip + "/32")
        return
    add_namespace(bed.relay_ns)
    veth(bed.ns, bed.interface, bed.relay_ns, bed.device)
    ip(bed.relay_ns, "link", "set", bed.device, "arp", "off")
    veth(bed.ns, "dns0", bed.relay_ns, "dns0")
    address(bed.ns, "dns0", bed.dns_ip + "/30")
    address(bed.relay_ns, "dns0", bed.resolver_client_ip + "/30")
    attach(bed)


def attach(bed):
    """Addresses on the interface towards the relay, once it is there."""
    wait_for(f"interface {bed.interface}", lambda: bed.fails_or(lambda: ip(
        bed.ns, "link", "show", bed.interface, check=False).returncode == 0))
    address(bed.ns, bed.interface, bed.client + "/24", bed.stranger + "/32", bed.client6 + "/64")
    ip(bed.ns, "link", "set", bed.interface, "up")


def add_router(bed, percent):
    """A client namespace behind BED_NS, which becomes a router that drops percent of the packets
    in each direction.  Returns the client's namespace and address."""
    client_ns = bed.add_namespace("c")
    veth(client_ns, "up0", bed.ns, "down0")
    address(client_ns, "up0", bed.routed_ip + "/24")
    address(bed.ns, "down0", bed.router_ip + "/24")
    ip(client_ns, "route", "add", "default", "via", bed.router_ip)
    sysctl(bed.ns, {"ipv4/ip_forward": 1})
    rules = f"""table ip loss {{
        counter seen_in {{ }}
        counter seen_out {{ }}
        counter lost_in {{ }}
        counter lost_out {{ }}
        chain wire {{
            type filter hook forward priority 0; policy accept;
            iifname "down0" counter name seen_in
            oifname "down0" counter name seen_out
            iifname "down0" numgen random mod 1000 < {int(percent * 10)} counter name lost_in drop
            oifname "down0" numgen random mod 1000 < {int(percent * 10)} counter name lost_out drop
        }}
    }}"""
    run(["ip", "netns", "exec", bed.ns, "nft", "-f", "-"], input=rules)
    return client_ns, bed.routed_ip


def router_counters(bed):
    """{name: packets} of the router's counters."""
    import json
    text = run(["ip", "netns", "exec", bed.ns, "nft", "-j", "list", "counters"]).stdout
    return {c["counter"]["name"]: c["counter"]["packets"]
            for c in json.loads(text)["nftables"] if "counter" in c}
