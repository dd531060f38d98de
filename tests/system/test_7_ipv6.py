# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours, addresses and routers of both families against the kernel and radvd; mail over IPv6."""

import os
import socket
import struct
import threading
import time

from bed import demo, mail, net, peers, proc, smtp, streams, wire
from bed.bed import Bed
from bed.harness import equal, expect, test
from bed.wire import Wire

OTHER_MAC = bytes.fromhex("020000000999")
RADVD = """interface {interface} {{
    AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 600;
    AdvLinkMTU 1400; AdvReachableTime 2000; AdvRetransTimer 500; AdvCurHopLimit 77;
    prefix 2001:2:0:1::/64 {{ AdvOnLink on; AdvAutonomous off; }};
}};
"""


def echo(w, address, seconds=30, octets=5000):
    return streams.run(w.client_ns, address, wire.ECHO, "echo", 3, octets, seconds)


def log_has(w, text):
    with open(w.log_of("peer")) as f:
        return text in f.read()


class Link:
    """Raw frames on the interface towards the stack."""

    def __init__(self, w, interface):
        with proc.inside(w.ns):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind((interface, 3))
        self.sock.settimeout(3)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send(self, destination, source, ether_type, packet):
        self.sock.send(destination + source + struct.pack("!H", ether_type) + packet)

    def wait(self, wanted, seconds=3):
        """The first frame from the link that wanted() takes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            frame, info = self.sock.recvfrom(2048)
            if info[2] != socket.PACKET_OUTGOING and wanted(frame):
                return frame
        raise proc.Failure("the frame did not come")


def arp(op, mac, sender, target):
    return struct.pack("!HHBBH", 1, 0x800, 6, 4, op) + mac + socket.inet_aton(sender) \
        + bytes(6) + socket.inet_aton(target)


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def icmp6(source, destination, message, hop_limit=255):
    """An IPv6 packet with an ICMPv6 message whose checksum is 0 as yet; addresses of 16 octets."""
    pseudo = source + destination + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    return struct.pack("!IHBB", 6 << 28, len(message), 58, hop_limit) + source + destination + message


def packed(address):
    return socket.inet_pton(socket.AF_INET6, address)


def solicitation(source, target, mac):
    return icmp6(source, target, struct.pack("!BBHI", 135, 0, 0, 0) + target + b"\1\1" + mac)


def mac_of(w, name):
    text = net.ip(w.ns, "-o", "neigh", "show", name).stdout
    return bytes.fromhex(text.split("lladdr ")[1].split()[0].replace(":", ""))


@test("neighbours: a kernel whose MAC changes without a word is found again", seconds=120)
def mac_changes(work):
    with Wire(work + "/w", connections=100) as w:
        for address in (wire.STACK, wire.STACK6):
            echo(w, address)
        net.ip(w.ns, "link", "set", w.interface, "address", "02:00:00:00:0a:0a")
        for address in (wire.STACK, wire.STACK6):
            print(f"{address}: {echo(w, address, 90):.1f} s")
        w.stop_peer()


@test("addresses: one that another host has is logged, counted and not used", seconds=60)
def duplicate(work):
    w = Wire(work + "/w", port="af_packet", discovery=1)
    set_up = w.set_up_router_side

    def with_duplicates():
        set_up()
        net.address(w.ns, w.interface, wire.STACK + "/32", wire.STACK6 + "/128")
    w.set_up_router_side = with_duplicates
    with w:
        proc.wait_for("the duplicates", lambda: w.figures().get("ip_address_duplicates") == 2, 10)
        expect(log_has(w, "address duplicate: not used port=p0 address=" + wire.STACK + " "), "IPv4 not logged")
        expect(log_has(w, "address duplicate: not used port=p0 address=" + wire.STACK6 + " "),
               "IPv6 not logged")
        # the kernel has them, and nobody listens there
        for address in (wire.STACK, wire.STACK6):
            try:
                w.connect(address, wire.ECHO, timeout=5, namespace=w.client_ns).close()
                expect(False, f"{address} is used")
            except ConnectionRefusedError:
                pass
        equal(w.stop_peer().get("tcp_passive_opens", 0), 0, "connections to a duplicate")


@test("addresses: one in use is announced and defended", seconds=60)
def defended(work):
    with Wire(work + "/w", discovery=1) as w:
        for address in (wire.STACK, wire.STACK6):
            echo(w, address)
        ours = mac_of(w, wire.STACK)
        with Link(w, w.interface) as link:
            link.send(b"\xff" * 6, OTHER_MAC, 0x806, arp(1, OTHER_MAC, wire.STACK, wire.STACK))
            link.wait(lambda f: f[6:12] == ours and f[12:14] == b"\x08\x06"
                      and f[28:32] == f[38:42] == socket.inet_aton(wire.STACK))
            advert = icmp6(packed(wire.STACK6), packed("ff02::1"), struct.pack(
                "!BBHI", 136, 0, 0, 0x20000000) + packed(wire.STACK6) + b"\2\1" + OTHER_MAC)
            link.send(bytes.fromhex("333300000001"), OTHER_MAC, 0x86dd, advert)
            link.wait(lambda f: f[6:12] == ours and f[12:14] == b"\x86\xdd" and f[54] == 136
                      and f[62:78] == packed(wire.STACK6))
        figures = w.stop_peer()
        expect(figures["ip_address_conflicts"] >= 2, f"conflicts: {figures}")
        expect(log_has(w, "claimed by another: defended"), "not logged")


@test("routers: radvd's advertisements are followed, and its end", seconds=120)
def advertised(work):
    with Wire(work + "/w", discovery=1, gateway6=[]) as w:
        conf = w.path("radvd.conf")
        with open(conf, "w") as f:
            f.write(RADVD.format(interface=w.interface))
        os.chmod(conf, 0o644)
        w.start_process("radvd", [peers.path("radvd"), "-n", "-u", "root", "-C", conf, "-p", w.path("radvd.pid")],
                        namespace=w.ns, env=peers.environment())
        proc.wait_for("the router", lambda: log_has(w, "router found port=p0"), 20)
        print(f"echo through it: {echo(w, wire.STACK6):.2f} s")
        with w.connect(wire.STACK6, wire.ECHO, namespace=w.client_ns) as s:
            mss = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        equal(mss, 1400 - 60 - 12, "MSS from the advertised MTU")
        ping = proc.run(["ip", "netns", "exec", w.ns, "ping", "-6", "-c1", "-W2", wire.STACK6]).stdout
        expect("ttl=77" in ping, "hop limit not taken: " + ping)
        w.stop_process("radvd") # says goodbye with a lifetime of 0
        proc.wait_for("the router to go", lambda: log_has(w, "router gone port=p0"), 10)
        try:
            w.connect(wire.STACK6, wire.ECHO, timeout=3, namespace=w.client_ns).close()
            expect(False, "there is still a route")
        except TimeoutError:
            pass
        w.stop_peer()


def flood(link, stack_mac, our_mac, stop, sent):
    """Questions from invented neighbours, and SYNs from others, as fast as a core can."""
    syn = struct.pack("!HHIIBBHHH", 1025, wire.ECHO, 1, 0, 5 << 4, 2, 65535, 0, 0)
    while not stop.is_set():
        network, to = packed(wire.STACK6)[:8], packed(wire.STACK6)
        source = network + os.urandom(8)
        link.send(stack_mac, our_mac, 0x86dd, solicitation(network + os.urandom(8), to, OTHER_MAC))
        body = syn[:16] + struct.pack("!H", checksum(
            source + to + struct.pack("!II", len(syn), 6) + syn)) + syn[18:]
        link.send(stack_mac, our_mac, 0x86dd,
                  struct.pack("!IHBB", 6 << 28, len(body), 6, 64) + source + to + body)
        link.send(stack_mac, our_mac, 0x806,
                  arp(1, OTHER_MAC, f"198.18.0.{sent[0] % 200 + 20}", wire.STACK))
        sent[0] += 1


@test("neighbours: a flood of inventions is bounded, and service goes on", seconds=120)
def flooded(work):
    with Wire(work + "/w", connections=500) as w:
        for address in (wire.STACK, wire.STACK6):
            echo(w, address)
        stop, sent = threading.Event(), [0]
        with Link(w, w.interface) as link:
            thread = threading.Thread(target=flood, args=(
                link, mac_of(w, wire.STACK6), OTHER_MAC, stop, sent))
            thread.start()
            try:
                for address in (wire.STACK, wire.STACK6):
                    print(f"{address} under the flood: {echo(w, address, 30, 100000):.2f} s")
                time.sleep(5)
                figures = w.figures()
            finally:
                stop.set()
                thread.join()
        print(sent[0], {k: v for k, v in figures.items() if "neigh" in k or "ndp" in k or "arp" in k})
        expect(sent[0] > 2000, "hardly a flood")
        expect(figures["neigh_evicted"] + figures.get("neigh_refused", 0) > 500, "nobody gave way")
        print(figures["pools"])
        expect(figures["pools"]["control.core0"] <= 300, "frames wait without bound")
        for address in (wire.STACK, wire.STACK6):
            echo(w, address)
        w.stop_peer()


@test("mail: over IPv6 in, and out to a host whose IPv6 address is dead", seconds=60)
def mail_both(work):
    with Bed(work + "/bed") as bed:
        recipient = "someone@both.example.net"
        data = mail.make(bed.user1, recipient, "the other family", 20_000)
        with proc.inside(bed.ns):
            sock = socket.create_connection((bed.relay6, 25), timeout=20, source_address=(bed.client6, 0))
        client = smtp.Client(sock)
        client.hello()
        client.message(bed.user1, [recipient, bed.user2], data)
        client.quit()
        d = demo.Demo(bed)
        dump = d.sink_message("the other family")
        d.expect_same("the relayed message", data, dump.data)
        got = d.curl("-u", f"{bed.user2}:{bed.pass2}", f"pop3://[{bed.relay6}]/1", text=False).stdout
        d.expect_same("the message over POP3", data, got)
        got = d.curl("-u", f"{bed.user2}:{bed.pass2}", f"imap://[{bed.relay6}]/INBOX;MAILINDEX=1",
                     text=False).stdout
        d.expect_same("the message over IMAP", data, got)
        expect(b"[IPv6:2001:2:0:1::1]" in got, "no address literal in the trace field")
