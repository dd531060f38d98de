# SPDX-License-Identifier: BSD-3-Clause
"""The flags that bypost-bench shares with Postfix's smtp-source and smtp-sink, also against these."""

import contextlib
import glob
import os
import smtplib
import time

from bed import mail, peers, proc
from bed.harness import equal, expect, test
from system.test_7_bench import Bench
from system.test_7_generator import Alone, corpus

EXTENSIONS = {"pipelining", "8bitmime", "binarymime", "smtputf8", "dsn", "enhancedstatuscodes", "auth"}
WITHOUT = {"-p": {"pipelining"}, "-8": {"8bitmime", "binarymime", "smtputf8"}, "-N": {"dsn"},
           "-E": {"enhancedstatuscodes"}, "-a": {"auth"}, "-C": set(), "-F": set()}


@contextlib.contextmanager
def client(alone):
    with proc.inside(alone.namespace):
        s = smtplib.SMTP("127.0.0.1", 25, timeout=20)
    try:
        yield s
    finally:
        s.close()


@test("bypost-bench: a sink that does not announce extensions", seconds=120)
def withheld(work):
    with Alone(work) as alone:
        for flag, missing in WITHOUT.items():
            with alone.sink(flag) as bench:
                with client(alone) as s:
                    s.ehlo()
                    equal(EXTENSIONS - set(s.esmtp_features), missing, flag)
                sent = bench.sent("127.0.0.1:25", "-m", "50", "-d", "-r", "2")
            equal((sent["accepted"], bench.match()[0]), (50, 0), flag)
        with alone.sink("-e", "-p", "-N") as bench:
            with client(alone) as s:
                equal((s.ehlo()[0], s.helo()[0]), (502, 250), "without ESMTP")
            sent = bench.sent("127.0.0.1:25", "-m", "50", "-d", "-r", "2")
        equal((sent["accepted"], bench.match()[0]), (50, 0), "by HELO")
        # one of three messages has octets beyond ASCII
        sent, got, found, status = alone.pair(["--corpus", corpus(work + "/mails"), "-m", "30", "-d"], ["-8"])
        equal((sent["accepted"], sent["refusals"], status), (20, {"mail_5xx": 10}, 0), "8-bit to who takes none")


@test("bypost-bench: a sink that takes any password, and one without AUTH", seconds=60)
def passwords(work):
    with Alone(work) as alone:
        for mechanism in ("plain", "login"):
            sent, got, found, status = alone.pair(["-m", "10", "-s", "2", "--auth", "a@b.example:c",
                                                   "--auth-mechanism", mechanism])
            equal((sent["accepted"], status), (10, 0), mechanism)
        sent, got, found, status = alone.pair(["--auth", "a@b.example:c", "--seconds", "1"], ["-a"],
                                              check=False)
        expect(sent["accepted"] == 0 and sent["refusals"], f"without AUTH: {sent['refusals']}")


@test("bypost-bench: a sink that refuses in words of its own", seconds=60)
def words(work):
    soft, hard = (452, b"4.5.3 Come back later"), (553, b"5.1.8 Not you")
    with Alone(work) as alone:
        with alone.sink("-r", "mail", "-f", "rcpt,helo", "-b", "452 4.5.3 Come back later", "-B",
                        "553 5.1.8 Not you"), client(alone) as s:
            equal((s.ehlo(), s.helo()), (hard, hard), "EHLO, HELO")
        with alone.sink("-r", "mail rcpt", "-b", "452 4.5.3 Come back later"), client(alone) as s:
            s.ehlo()
            equal(s.mail("a@b.example"), soft, "MAIL")
        with alone.sink("-f", "connect", "-B", "553 5.1.8 Not you"):
            try:
                with client(alone):
                    raise AssertionError("connected")
            except smtplib.SMTPConnectError as e:
                equal((e.smtp_code, e.smtp_error), hard, "the greeting")


@test("bypost-bench: a sink that says 550 instead of reading content", seconds=60)
def aborting(work):
    with Alone(work) as alone:
        for delay, options in (("0", []), ("0.5", []), ("0", ["-W", "data:0.2"])):
            with alone.sink("-A", delay, *options) as bench:
                with client(alone) as s:
                    s.ehlo()
                    s.mail("a@b.example")
                    s.rcpt("c@d.example")
                    began = time.monotonic()
                    equal(s.docmd("DATA")[0], 354, "DATA")
                    equal(s.getreply()[0], 550, f"-A {delay}")
                    expect(time.monotonic() - began >= float(delay), "too early")
                sent = bench.sent("127.0.0.1:25", "-m", "3", "-l", "3000000", check=False)
            equal((sent["accepted"], bench.got["messages"]), (0, 0), "accepted, taken")
            expect(bench.got["failures"]["data_5xx"] >= 2, f"{bench.got['failures']}")


def dumped(folder):
    return [mail.Dump(path) for path in sorted(glob.glob(folder + "/**/*", recursive=True))
            if os.path.isfile(path)]


@test("bypost-bench: a sink that writes messages to files, as smtp-sink does", seconds=120)
def dumps(work):
    octets = mail.make("a@b.example", "c@d.example", "dumped")
    ours, theirs = work + "/ours", work + "/theirs"
    sink = [peers.path("smtp-sink"), "-u", "nobody", "-d", theirs + "/%Y/m.", "127.0.0.1:2525", "100"]
    os.makedirs(theirs)
    os.chmod(theirs, 0o777)
    with Alone(work) as alone, alone.sink("-d", ours + "/%Y/m.") as bench:
        other = proc.start(["ip", "netns", "exec", alone.namespace, *sink], work + "/smtp-sink.log",
                           env=peers.environment())
        for port in (25, 2525):
            def sent(port=port):
                with proc.inside(alone.namespace), contextlib.suppress(ConnectionRefusedError):
                    with smtplib.SMTP("127.0.0.1", port, timeout=20) as s:
                        return s.sendmail("a@b.example", ["c@d.example", "e@d.example"], octets) == {}
            proc.wait_for("a sink", sent, 15)
        proc.stop(other)
        # what is not finished, or refused, leaves nothing
        with client(alone) as s:
            s.ehlo()
            s.mail("a@b.example")
            s.rcpt("c@d.example")
            s.docmd("DATA")
            s.send(b"Subject: half\r\n\r\n")
        proc.wait_for("its end", lambda: not glob.glob(ours + "/**/*.part", recursive=True), 10)
    (one,), (other,) = dumped(ours), dumped(theirs)
    equal((one.sender, one.rcpts), (other.sender, other.rcpts), "envelopes")
    equal(one.data, other.data, "content")
    equal(one.data, mail.unix(octets), "what was sent")


@test("bypost-bench: messages appended to one file, and a file that cannot be", seconds=60)
def one_file(work):
    box = work + "/box/all"
    with Alone(work) as alone:
        with alone.sink("-D", box, "-S", "From bench\\n") as bench:
            sent = bench.sent("127.0.0.1:25", "-m", "30", "-s", "5", "-l", "3000", "-S", "About this")
        equal((sent["accepted"], bench.match()[0], os.listdir(work + "/box")), (30, 0, ["all"]), "taken")
        with open(box) as f:
            text = f.read()
        for line in ("\nSubject: About this\n", "From bench\nX-Client-Addr: 127.0.0.1\nX-Client-Proto: "
                     "ESMTP\nX-Helo-Args: source.bench.example.org\nX-Mail-Args: <source@bench."):
            equal(text.count(line), 30, line)
        sent, got, found, status = alone.pair(["-m", "3"], ["-d", "/proc/none/m."], check=False)
        equal((sent["accepted"], sent["refusals"], status), (0, {"mail_4xx": 3}, 0), "no file")


@test("bypost-bench: a source that pauses between messages", seconds=60)
def pauses(work):
    with Alone(work) as alone:
        for options, least in ((["-w", "0.1", "-d"], 1.9), (["-w", "0.1"], 1.9), (["-R", "0.2", "-d"], 0.5)):
            began = time.monotonic()
            sent, got, found, status = alone.pair(["-m", "20", *options])
            took = time.monotonic() - began
            equal((sent["accepted"], status), (20, 0), f"{options}")
            expect(least < took, f"{options}: {took:.1f} s")
            expect(sent["accept_us"]["p50"] < 90000, f"the pause is in the answer's time: {sent['accept_us']}")
        began = time.monotonic()
        sent, *_ = alone.pair(["-w", "60", "-d", "-s", "3", "--seconds", "1"])
        expect(time.monotonic() - began < 15 and sent["accepted"] == 3, f"pausing at the end: {sent}")


@test("bypost-bench: a source that gives up where nobody listens", seconds=30)
def gives_up(work):
    with Alone(work) as alone:
        sent = Bench(work + "/b", alone.namespace).sent("127.0.0.1:25", "-C", "5", "-m", "10", check=False)
        equal((sent["accepted"], sent["refusals"]), (0, {"connect_lost": 5}), "tries")


@test("bypost-bench: Postfix's smtp-source and our sink, our source and smtp-sink", seconds=120)
def peers_of_postfix(work):
    source = os.path.join(peers.TREE, "usr/sbin/smtp-source")
    env = peers.environment()
    with Alone(work) as alone:
        inside = ["ip", "netns", "exec", alone.namespace]
        for flags in ([], ["-L"], ["-d"], ["-d", "-r", "3", "-N"]):
            with alone.sink(*[f for f in flags if f == "-L"]) as bench:
                proc.run([*inside, source, "-4", "-m", "40", "-s", "4", "-l", "5000", *flags, "-f", "a@b.example",
                          "-t", "c@d.example", "127.0.0.1:25"], env=env)
            equal((bench.got["messages"], bench.got["foreign"]), (40, 40), f"smtp-source {flags}")
        sink = proc.start([*inside, peers.path("smtp-sink"), "-4", "-u", "nobody", "-8", "-p", "127.0.0.1:25", "100"],
                          work + "/smtp-sink.log", env=env)
        bench = Bench(work + "/ours", alone.namespace)
        try:
            proc.wait_for("smtp-sink", lambda: bench.sent("127.0.0.1:25", "-C", "1", check=False)["accepted"], 15)
            sent = bench.sent("127.0.0.1:25", "-m", "40", "-s", "4", "-l", "5000", "-d", "-r", "3", "-N")
        finally:
            proc.stop(sink)
        equal((sent["accepted"], sent["recipients"], sent["refusals"]), (40, 120, {}), "smtp-sink")
