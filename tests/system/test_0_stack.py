# SPDX-License-Identifier: BSD-3-Clause
"""The stack against the kernel's TCP, over a router that loses packets: every octet is checked."""

from bed import net, proc, streams, wire
from bed.harness import Skip, equal, expect, need_af_xdp, reserve_hugepages, test
from bed.wire import Cable, Wire

MEGABYTE = 1 << 20
# per cent lost each way: connections, octets of each
# the last one is the largest that the kind of port carries
MTUS = {"tap": (1280, 1504), "af_packet": (1280, 9000), "af_xdp": (1280, 3502)}
LOADS = {0: (8, 2 * MEGABYTE), 1: (8, MEGABYTE // 2), 5: (8, MEGABYTE // 8), 20: (4, 12 * 1024)}


def streams_all_ways(w, connections, octets, seconds=60, address=wire.STACK):
    for mode, port in (("sink", wire.SINK), ("source", wire.SOURCE), ("echo", wire.ECHO)):
        took = streams.run(w.client_ns, address, port, mode, connections, octets, seconds)
        print(f"{w.port} {address} loss={w.loss} {mode}: {connections} x {octets} octets in {took:.2f} s")


def lossy(work, port, loss, address=wire.STACK, **peer):
    connections, octets = LOADS[loss]
    with Wire(f"{work}/{port}{loss}", port=port, loss=loss, **peer) as w:
        # A chain of lost retransmissions doubles the kernel's timeout each time.
        streams_all_ways(w, connections, octets, 180 if loss == 20 else 60, address)
        lost = w.lost()
        print(lost)
        expect(lost["seen_in"] > 50 and lost["seen_out"] > 50, "nothing went through the router")
        for way in ("in", "out"):
            expect(loss == 0 or lost["lost_" + way] > 0, f"nothing was lost {way}")
        figures = w.stop_peer()
        equal(figures.get("tcp_in_errs", 0), 0, "segments with a bad checksum")
        return figures


@test("stack: integrity against the kernel over tap, loss 0 to 20 %", seconds=600)
def tap(work):
    for loss in LOADS:
        lossy(work, "tap", loss)


@test("stack: integrity against the kernel over IPv6, on each kind of port", seconds=180)
def ipv6(work):
    for port, loss in (("tap", 1), ("tap", 5), ("af_packet", 1)):
        lossy(work, port, loss, wire.STACK6)
    try:
        need_af_xdp()
    except Skip as e:
        print(f"af_xdp left out: {e}")
        return
    lossy(work, "af_xdp", 1, wire.STACK6)


@test("stack: integrity against the kernel over af_packet", seconds=60)
def af_packet(work):
    for loss in (0, 5):
        lossy(work, "af_packet", loss)


@test("stack: integrity against the kernel over af_xdp", seconds=60)
def af_xdp(work):
    need_af_xdp()
    for loss in (0, 5):
        lossy(work, "af_xdp", loss)


@test("stack: 1,000 connections at once", seconds=60)
def many(work):
    with Wire(work + "/w", connections=2000) as w:
        streams_all_ways(w, 1000, 4096)
        w.stop_peer()


def opens(w, connections, octets, address=wire.CLIENT, seconds=60):
    """Active opens of the stack to an echo server of the kernel."""
    with streams.EchoServer(w.client_ns, address, wire.KERNEL_ECHO) as server:
        w.start_peer()

        def ended():
            f = w.figures()
            return f["done"] + f["failed"] >= connections
        server.serve(ended, seconds)
    figures = w.stop_peer()
    equal((figures["done"], figures["failed"]), (connections, 0), "active opens")
    return figures


@test("stack: three cores share two processors, streams in and out", seconds=120)
def cores(work):
    # a queue for each core; for two of three; one for all
    for port, queues in (("tap", 3), ("tap", 1), ("af_packet", 2), ("af_packet", 1)):
        with Wire(f"{work}/{port}{queues}", port=port, cores=3, queues=queues) as w:
            streams_all_ways(w, 60, 64 * 1024)
            figures = w.stop_peer()
            expect(figures["steer_out"] > 0, "no frame was handed to another core")
            print({k: figures[k] for k in ("steer_out", "port_rx_packets")})
            w.peer_options["connect"] = f"{wire.CLIENT},{wire.KERNEL_ECHO},300,20000"
            figures = opens(w, 300, 20000)
            print({k: figures[k] for k in ("steer_out", "port_rx_packets")})


@test("stack: rings of two entries between three cores", seconds=120)
def small_rings(work):
    with Wire(work + "/w", cores=3, ring=2) as w:
        streams_all_ways(w, 6, 64 * 1024)
        w.stop_peer()
        w.peer_options["connect"] = f"{wire.CLIENT},{wire.KERNEL_ECHO},30,2000"
        opens(w, 30, 2000)


def too_large(work, port, mtu, **peer):
    try:
        with Wire(work, port=port, mtu=mtu, **peer):
            pass
    except proc.Failure as e:
        expect(f"ports.p0.mtu: {mtu} is not in" in str(e), f"the key is not named: {e}")
        return
    raise AssertionError(f"{port} began with an MTU of {mtu}")


@test("stack: MTU from 1280 to what the port carries", seconds=120)
def mtus(work):
    for port, sizes in MTUS.items():
        for mtu in sizes:
            with Wire(f"{work}/{port}{mtu}", port=port, mtu=mtu) as w:
                streams_all_ways(w, 4, MEGABYTE)
                figures = w.stop_peer()
                equal(figures.get("tcp_in_errs", 0), 0, f"bad checksums with MTU {mtu}")
        too_large(f"{work}/{port}-more", port, sizes[-1] + 1)


@test("stack: segmentation and checksums by the port, over tap", seconds=120)
def offloads(work):
    for loss, connections, octets in ((0, 4, 4 * MEGABYTE), (2, 8, MEGABYTE // 2)):
        with Wire(f"{work}/{loss}", loss=loss, offloads=1) as w:
            # The driver counts the Ethernet header as part of what the MTU allows, and refuses to
            # cut what would fill it: the kernel asks for less.
            net.ip(w.client_ns, "route", "change", "default", "via", wire.ROUTER_CLIENT, "advmss",
                   "1400")
            streams_all_ways(w, connections, octets)
            proc.wait_for("the frames to come back", lambda w=w: pools_are_empty(w.figures()), 30)
            figures = w.stop_peer()
            equal(figures.get("tcp_in_errs", 0), 0, "bad checksums")
            expect(figures["tcp_tso_frames"] > 0, "the port had nothing to cut")
            expect(figures["tcp_out_segs"] > 4 * figures["tcp_tso_frames"],
                   "frames with few segments")
            print({k: figures[k] for k in ("tcp_tso_frames", "tcp_out_segs")})


@test("stack: a VLAN over tap, af_packet and af_xdp", seconds=120)
def vlan(work):
    for port in ("tap", "af_packet", "af_xdp"):
        if port == "af_xdp":
            need_af_xdp()
        if port == "tap":  # the driver counts the tag
            too_large(f"{work}/large", port, 1501, vlan=42)
        for cores, vid in ((1, 42), (2, 4094)):
            with Wire(f"{work}/{port}{cores}", port=port, vlan=vid, cores=cores) as w:
                streams_all_ways(w, 4, MEGABYTE)
                took = streams.run(w.client_ns, wire.STACK6, wire.ECHO, "echo", 4, MEGABYTE, 60)
                print(f"{port} IPv6: {took:.2f} s")
                answers_ping(w)
                before = w.figures().get("eth_rx_vlan_dropped", 0)
                w.untag()
                gone = proc.run(["ip", "netns", "exec", w.ns, "ping", "-c", "3", "-i", "0.2", "-W",
                                 "1", wire.STACK], check=False, timeout=20)
                expect(gone.returncode != 0, "a frame without a tag was answered")
                figures = w.stop_peer()
                expect(figures["eth_rx_vlan_dropped"] > before, "and not counted")
                equal(figures.get("tcp_in_errs", 0), 0, "bad checksums")


def narrow_path(work, mtu, silent, octets, address=wire.STACK):
    with Wire(work, cores=2) as w:
        w.narrow(mtu, silent)
        took = streams.run(w.client_ns, address, wire.SOURCE, "source", 8, octets, 60)
        figures = w.stop_peer()
        told = {k: v for k, v in figures.items() if "mtu" in k or "icmp" in k}
        print(f"mtu={mtu} silent={silent} {address}: {took:.2f} s {told}")
        equal(figures.get("tcp_in_errs", 0), 0, "bad checksums")
        return figures


@test("stack: a router with a link of smaller MTU, that says so and that does not", seconds=240)
def path_mtu(work):
    for mtu, address in ((1400, wire.STACK), (1000, wire.STACK), (600, wire.STACK),
                         (1400, wire.STACK6), (1280, wire.STACK6)):
        told = narrow_path(f"{work}/told{mtu}-{len(address)}", mtu, False, MEGABYTE, address)
        expect(told.get("tcp_mtu_lowered", 0) > 0, "no error was believed")
        equal(told.get("tcp_mtu_black_holes", 0), 0, "black holes")
    for address in (wire.STACK, wire.STACK6):
        silent = narrow_path(f"{work}/silent{len(address)}", 1300, True, 80 * MEGABYTE, address)
        equal(silent.get("tcp_mtu_lowered", 0), 0, "errors")
        expect(silent["tcp_mtu_black_holes"] > 0, "the black hole was not noticed")
        expect(silent["tcp_mtu_probes"] > 0, "nothing larger was tried")


@test("stack: fragments from the kernel are put together, on any core", seconds=60)
def fragments(work):
    # not af_packet: there the kernel puts them together before we see them
    for cores in (1, 3):
        with Wire(f"{work}/{cores}", cores=cores) as w:
            for address in (wire.STACK, wire.STACK6):  # neighbours know each other
                proc.run(["ip", "netns", "exec", w.ns, "ping", "-c", "3", "-i", "0.2", address],
                         check=False, timeout=20)
            # IPv6 first: a smaller MTU takes it off the interface
            for mtu, size, address in ((1280, 1400, wire.STACK6), (1500, 1900, wire.STACK),
                                       (576, 1400, wire.STACK), (300, 1400, wire.STACK)):
                net.ip(w.ns, "link", "set", w.interface, "mtu", str(mtu))
                done = proc.run(["ip", "netns", "exec", w.ns, "ping", "-M", "dont", "-s", str(size),
                                 "-c", "20", "-i", "0.02", "-W", "2", address], check=False,
                                timeout=30)
                expect(done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout)
            figures = w.stop_peer()
            equal(figures["ip_reass_ok"], 80, "packets put together")
            print({k: v for k, v in figures.items() if "reass" in k or "fragments" in k or "steer" in k})


def answers_ping(w):
    done = proc.run(["ip", "netns", "exec", w.client_ns, "ping", "-c", "3", "-i", "0.2", "-W", "1",
                     wire.STACK], check=False, timeout=20)
    print(done.stdout.splitlines()[-2:])
    expect(done.returncode == 0, f"no echo from an exhausted stack: {done.stdout}")


def pools_empty(w):
    """All frames are back, and stay there; the driver of a TAP keeps two."""
    return all(pools_are_empty(w.figures()) for _ in range(10))


def pools_are_empty(figures):
    return all(n <= 2 for n in figures["pools"].values())


@test("stack: full pools, and what comes afterwards", seconds=120)
def exhausted(work):
    with Wire(work + "/w", mbufs=1023) as w:
        for mode, port in (("source", wire.SOURCE), ("echo", wire.ECHO)):
            ended = streams.stuff(w.client_ns, wire.STACK, port, mode, 200, 4,
                                  during=lambda: answers_ping(w))
            figures = w.figures()
            print(mode, ended, {k: v for k, v in figures.items() if "press" in k or "pools" == k})
            proc.wait_for("empty pools", lambda: pools_empty(w), 60, step=1)
            streams_all_ways(w, 4, 256 * 1024)
        for level in ("windows", "opens"):
            expect(figures.get("pressure_" + level, 0) > 0, f"the pools were not full: {figures}")


def over_memif(work, **options):
    with Cable(work, **options) as w:
        w.start_client(400, 50000)
        ended = proc.wait_for("the opens to end", lambda: w.figures("client")["done"]
                              + w.figures("client")["failed"] == 400, 60)
        expect(ended, "active opens")
        client, server = w.stop_peer("client"), w.stop_peer()
        equal((client["done"], client["failed"]), (400, 0), "active opens")
        equal(server["tcp_passive_opens"], 400, "passive opens")
        for figures in (client, server):
            equal(figures.get("tcp_in_errs", 0), 0, "bad checksums")
            expect(pools_are_empty(figures), f"frames were kept: {figures['pools']}")
        print(client)


@test("stack: two stacks over memif, one core each and two", seconds=120)
def memif(work):
    over_memif(work + "/one")
    over_memif(work + "/two", cores=2, queues=2)
    over_memif(work + "/uneven", cores=2)


@test("stack: two stacks over memif in huge pages", seconds=120)
def memif_huge(work):
    if reserve_hugepages(work, 200) < 200:
        raise Skip("hugepages")
    over_memif(work + "/one")
    with open(work + "/one/peer.log") as f:
        expect("hugepages=yes" in f.read(), "the pages were not used")
