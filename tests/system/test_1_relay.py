# SPDX-License-Identifier: BSD-3-Clause
"""Mail all the way through the three kinds of port, both layouts, small rings, and loss."""

import threading
import time

from bed import demo, load, mail, mailbox, net, proc, smtp
from bed.bed import Bed
from bed.harness import Skip, equal, expect, need_af_xdp, reserve_hugepages, test


def all_the_way(work, **options):
    with Bed(work + "/bed", **options) as bed:
        demo.Demo(bed).run()


@test("port tap: relay, mailbox, queue, status")
def port_tap(work):
    all_the_way(work, port="tap")


@test("port af_packet: relay, mailbox, queue, status")
def port_af_packet(work):
    all_the_way(work, port="af_packet")


@test("port af_xdp: relay, mailbox, queue, status")
def port_af_xdp(work):
    need_af_xdp()
    all_the_way(work, port="af_xdp")


@test("port af_xdp: starts again after a stop and after a kill")
def port_af_xdp_again(work):
    need_af_xdp()
    with Bed(work + "/bed", port="af_xdp") as bed:
        bed.restart()
        bed.kill_daemon()
        bed.start_daemon()
        bed.write_env()
        demo.Demo(bed).run()


@test("layout split: one core each for dataplane, delivery and control")
def layout_split(work):
    all_the_way(work, layout="split")


@test("layout split through af_packet")
def layout_split_af_packet(work):
    all_the_way(work, port="af_packet", layout="split")


@test("with hugepages")
def with_hugepages(work):
    try:
        if reserve_hugepages(work, 400) < 400:
            raise Skip("hugepages")
    except OSError:
        raise Skip("hugepages")
    with Bed(work + "/bed") as bed:
        with open(bed.path("bypostd.log")) as f:
            text = f.read()
        expect("hugepages=yes" in text, f"hugepages are not used: {text}")
        demo.Demo(bed).run()


def under_load(bed, messages, seconds):
    """Parallel clients to both kinds of destination; everything arrives once and unaltered."""
    def recipients(rng, ident):
        choice = rng.random()
        if choice < 0.4:
            return [bed.user1]
        if choice < 0.8:
            return [f"{ident}@{bed.remote_domain}"]
        return [bed.user2, f"{ident}@a.{bed.remote_domain}"]

    def size(rng):
        return 300_000 if rng.random() < 0.03 else rng.randrange(200, 20_000)

    run = load.Load(bed, 8, recipients, size, timeout=30).start(limit=messages)
    run.join(seconds)
    equal(run.refused, {}, "refusals")
    expect(len(run.acked) >= messages, f"only {len(run.acked)} of {messages} were acknowledged")
    left = load.drain(bed, seconds)
    equal(left, [], "left in the queue")
    places = load.look(bed)
    equal(load.lost(run, places), [], "lost or altered")
    equal(load.doubled(places), [], "delivered twice")
    print(f"{len(run.acked)} messages")


@test("load of parallel clients, layout one", seconds=90)
def load_one(work):
    with Bed(work + "/bed", layout="one") as bed:
        under_load(bed, 600, 60)


@test("load of parallel clients, layout split", seconds=90)
def load_split(work):
    with Bed(work + "/bed", layout="split") as bed:
        under_load(bed, 600, 60)


@test("rings of capacity 2 under load, layout one", seconds=90)
def rings_one(work):
    with Bed(work + "/bed", layout="one", changes={"cores": {"ring_size": 2}}) as bed:
        under_load(bed, 400, 60)


@test("rings of capacity 2 under load, layout split", seconds=90)
def rings_split(work):
    with Bed(work + "/bed", layout="split", changes={"cores": {"ring_size": 2}}) as bed:
        under_load(bed, 400, 60)


LOSS_MESSAGES, LOSS_BYTES, LOSS_PERCENT = 200, 100_000, 5.0


@test("5 % loss each way: 200 messages of 100 kB arrive intact", seconds=240)
def loss(work):
    with Bed(work + "/bed") as bed:
        try:
            client_ns, _ = net.add_router(bed, LOSS_PERCENT)
        except proc.Failure as e:
            if "numgen" in str(e):
                raise Skip("nft-random")
            raise
        run = load.Load(bed, 10, lambda rng, ident: [bed.user1], lambda rng: LOSS_BYTES,
                        timeout=120, namespace=client_ns).start(limit=LOSS_MESSAGES)
        run.join(200)
        expect(len(run.acked) >= LOSS_MESSAGES, f"{len(run.acked)} acknowledged")
        for way in ("in", "out"):
            counters = net.router_counters(bed)
            share = counters["lost_" + way] / max(1, counters["seen_" + way])
            print(f"lost {way}: {counters['lost_' + way]} of {counters['seen_' + way]} packets "
                  f"({share:.1%})")
            expect(share >= 0.03, f"only {share:.1%} of the packets {way} were lost")
            expect(counters["seen_" + way] > LOSS_MESSAGES, "hardly any packet came by")
        equal(load.lost(run, load.look(bed, users=(1,))), [], "lost or altered")


@test("5 % loss each way: mailboxes are read intact", seconds=120)
def loss_out(work):
    with Bed(work + "/bed") as bed:
        client_ns, _ = net.add_router(bed, LOSS_PERCENT)
        sent = mail.make(bed.user1, bed.user2, "big", 1_000_000)
        with_client = smtp.connect(bed)
        with_client.hello()
        equal(with_client.message(bed.user1, [bed.user2], sent)[0], 250, "end of data")
        mailbox.wait_messages(bed, 1, user=2)
        for url in (f"pop3://{bed.relay}/1", f"imap://{bed.relay}/INBOX;MAILINDEX=1"):
            got = proc.run(["ip", "netns", "exec", client_ns, "curl", "-sS", "--max-time", "90", "-u",
                            f"{bed.user2}:{bed.pass2}", url], text=False).stdout
            equal(mail.same(sent, got), None, url)
        counters = net.router_counters(bed)
        expect(counters["lost_out"] / counters["seen_out"] >= 0.03, f"no loss: {counters}")


def busy_share(bed, seconds):
    pid = bed.daemon["pid"]
    before, began = proc.cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (proc.cpu_seconds(pid) - before) / (time.monotonic() - began)


def idle(work, layout, port="tap"):
    with Bed(work + "/bed", layout=layout, port=port) as bed:
        time.sleep(2)
        share = busy_share(bed, 6)
        print(f"{share:.1%} of a CPU")
        expect(share < 0.05, f"an idle bypostd uses {share:.1%} of a CPU")


@test("idle: less than 5 % of a CPU, layout one")
def idle_one(work):
    idle(work, "one")


@test("idle: less than 5 % of a CPU, layout split")
def idle_split(work):
    idle(work, "split")


@test("idle: less than 5 % of a CPU, af_packet")
def idle_af_packet(work):
    idle(work, "one", "af_packet")


@test("ping answers while mail flows")
def ping(work):
    with Bed(work + "/bed") as bed:
        run = load.Load(bed, 2, lambda rng, ident: [bed.user1], lambda rng: 2000).start()
        done = proc.run(["ip", "netns", "exec", bed.ns, "ping", "-c", "5", "-i", "0.2", "-W", "2",
                         bed.relay], check=False)
        run.stop()
        expect(" 0% packet loss" in done.stdout, done.stdout)
        equal(threading.active_count(), 1, "threads of the load")
