# SPDX-License-Identifier: BSD-3-Clause
"""The servers of a comparison, configured as somebody would who wants them to be fast and loses no
mail: docs/benchmark.md says what was set and why.  A server knows

    start()         fresh, with an empty queue
    kept()          messages that it has taken and not passed on (in the queue or in a mailbox)
    flush()         try everything that waits, now
    pause_relay()   before cells in which nothing is sent on

Mail for plain.example.net goes to the sink, mail for tls.example.net to the one with STARTTLS; mail for
hold.example.net stays in the queue, which is the least a server can do with it."""

import glob
import json
import os

from bed import build, config, mailservers, peers, proc
from contest import FRAMES, KERNEL, SERVER_IP, SINK_IP, TAP, TLS_SINK_IP

HOSTNAME = "mail.example.org"
MAILBOX_DOMAINS = [f"d{i}.example.org" for i in range(8)]  # a mailbox in each
PROCESSES = 300  # more than the sessions and the connections of any cell


class Server:
    """What they have in common."""

    version_of = ()
    wire = KERNEL    # what it wants to have at its end
    mailbox = False  # cells that accept put mail into mailboxes
    tls = relays = True
    optional = False  # only where it is asked for
    port, source_options = 25, ()

    def __init__(self, field):
        self.field = field
        self.facts = {"name": HOSTNAME, "ip": SERVER_IP, "cert": field.cert, "key": field.key,
                      "plain": SINK_IP, "tls": TLS_SINK_IP, "processes": PROCESSES}

    @property
    def own(self):
        return self.field.path(self.name)

    def start(self):
        self.field.end_server()
        proc.remove_tree(self.own)
        self.field.wire(self.wire)
        self.start_fresh()

    def stop(self):
        self.field.end_server()
        proc.remove_tree(self.own)

    def count(self, folder, end="", part=""):
        """Files below a folder whose path ends so and has that part."""
        found = 0
        for path, _, files in os.walk(os.path.join(self.own, folder)):
            if part in path + "/":
                found += sum(f.endswith(end) for f in files)
        return found

    def flush(self):
        pass

    def counters(self):
        """Of bypost; the others have none."""

    def pause_relay(self):
        pass

    def log_tail(self):
        return proc.tail(self.field.path(self.name + ".log"))

    def accept_domains(self):
        return MAILBOX_DOMAINS if self.mailbox else ["hold.example.net"]


# Behind what any Postfix has here (bed.mailservers).
POSTFIX_FAST = """mynetworks = 127.0.0.0/8, 198.18.0.0/15
transport_maps = inline:{ {plain.example.net = smtp:[%(plain)s]:25},
    {tls.example.net = smtp:[%(tls)s]:25} }
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{ {hold.example.net = HOLD} },
    permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtpd_tls_security_level = may
smtp_tls_security_level = may
smtp_tls_connection_reuse = no
default_process_limit = %(processes)d
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_destination_concurrency_limit = 100
initial_destination_concurrency = 20
smtp_connection_cache_destinations = %(plain)s, %(tls)s
max_use = 1000
in_flow_delay = 0
qmgr_message_active_limit = 40000
qmgr_message_recipient_limit = 40000
"""


class Postfix(Server):
    name, title = "postfix", "Postfix"
    version_of = ("/usr/sbin/postconf", "-d", "-h", "mail_version")

    def start_fresh(self):
        mailservers.start_postfix(self.field, (mailservers.POSTFIX + POSTFIX_FAST) % self.facts)

    def kept(self):
        return sum(self.count(f"spool/{d}") for d in ("incoming", "active", "deferred", "hold"))

    def flush(self):
        self.field.enter("/usr/sbin/postqueue", "-c", self.own, "-f")


EXIM_FAST = """split_spool_directory = yes
message_logs = no
smtp_accept_max = 0
smtp_accept_queue = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
smtp_connect_backlog = 1024
queue_run_max = 50
trusted_users = root
begin acl
everybody:
  accept domains = hold.example.net
         control = queue_only
  accept
begin routers
onward_tls:
  driver = manualroute
  domains = tls.example.net
  route_list = * %(tls)s byname
  transport = smtp
onward:
  driver = manualroute
  route_list = * %(plain)s byname
  transport = smtp
begin transports
smtp:
  driver = smtp
  tls_verify_certificates =
begin retry
* * F,5d,5m
"""


class Exim(Server):
    name, title = "exim", "Exim"
    version_of = ("/usr/sbin/exim4", "-bV")
    RUNNERS = 20

    def start_fresh(self):
        mailservers.start_exim(self.field, (mailservers.EXIM + EXIM_FAST) % self.facts, "-q30m")

    def kept(self):
        return self.count("spool/input", "-H")

    def flush(self):
        for _ in range(self.RUNNERS):  # each sends one message after the other, of those not taken
            self.field.spawn("/usr/sbin/exim4", "-qff")


OPENSMTPD = """pki ours cert "%(cert)s"
pki ours key "{own}/key"
smtp max-message-size "50M"
smtp limit max-mails 1000
mta limit max-conn-per-host 100 max-conn-per-route 100 max-conn-per-source 100
mta limit max-conn-per-connector 100 max-conn-per-relay 100 max-conn-per-domain 100
mta limit conn-delay-host 0 conn-delay-route 0 conn-delay-source 0 conn-delay-connector 0
mta limit conn-delay-relay 0 conn-delay-domain 0 session-transaction-delay 0
listen on %(ip)s port 25 tls pki ours hostname "%(name)s"
action "onward" relay host "smtp://%(plain)s"
action "onward_tls" relay host "smtp://%(tls)s"
match from any for domain "tls.example.net" action "onward_tls"
match from any for any action "onward"
"""


class OpenSMTPD(Server):
    name, title = "opensmtpd", "OpenSMTPD"
    tls = False  # Debian 12's, with OpenSSL 3, fails in every handshake
    version_of = ("/usr/sbin/smtpd", "-h")

    def start_fresh(self):
        steps = ("mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd {own}/spool\n"
                 "mount -t tmpfs run /run\n"
                 "chmod 711 {own}/spool\n"
                 "mount --bind {own}/spool /var/spool/smtpd\n"
                 f"cp {self.field.key} {{own}}/key\n"
                 "chmod 600 {own}/smtpd.conf {own}/key\n"
                 "chgrp opensmtpq /usr/sbin/smtpctl\n"
                 "chmod 2755 /usr/sbin/smtpctl\n"
                 "ulimit -n 8192")
        mailservers.start(self.field, self.name, "/usr/sbin/smtpd -d -f {own}/smtpd.conf",
                          {"smtpd.conf": OPENSMTPD % self.facts}, steps)

    def kept(self):
        return self.count("spool/queue", "message")

    def flush(self):
        self.field.enter("/usr/sbin/smtpctl", "schedule", "all")

    def pause_relay(self):
        self.field.enter("/usr/sbin/smtpctl", "pause", "mta")


DOVECOT_MORE = """default_process_limit = %(processes)d
default_client_limit = 4096
service lmtp {
  process_min_avail = 4
  service_count = 0
}
service auth {
  client_limit = 4096
}
"""


class Dovecot(Server):
    name, title = "dovecot", "Dovecot (LMTP)"
    version_of = ("/usr/sbin/dovecot", "--version")
    mailbox, relays = True, False
    port, source_options = 24, ("-L",)

    def start_fresh(self):
        mailservers.start(self.field, self.name, "/usr/sbin/dovecot -F -c {own}/dovecot.conf",
                          {"dovecot.conf": (mailservers.DOVECOT + DOVECOT_MORE) % self.facts},
                          "mkdir -p {own}/mail; chown nobody {own}/mail", port=24)

    def kept(self):
        return self.count("mail", part="/new/")


class Bypost(Server):
    """bypostd by af_packet: the kernel's end of the wire is the generator's."""

    name, title = "bypost", "bypost (af_packet)"
    wire, port_kind, device, mtu_most = FRAMES, "af_packet", "server0", 9000
    mailbox = True

    def config(self):
        return {
            "node": {"hostname": HOSTNAME, "user": config.user(self.own)},
            "ports": [{"name": "p0", "kind": self.port_kind, "device": self.device,
                       "mtu": min(self.field.mtu, self.mtu_most), "addresses": [SERVER_IP + "/24"],
                       "duplicate_check": False}],
            "cores": {"layout": [{"roles": ["dataplane", "delivery", "control"],
                                  "cpus": ",".join(str(c) for c in config.cpus())}],
                      "file_prefix": self.field.name},
            "listen": {"pop3": 0, "imap": 0},
            "tls": {"certificates": [{"chain": self.field.cert, "key": self.field.key}]},
            "relay": {"from": ["198.18.0.0/15"],
                      "routes": [{"domain": "plain.example.net", "host": SINK_IP},
                                 {"domain": "tls.example.net", "host": TLS_SINK_IP}]},
            "domains": {"local": MAILBOX_DOMAINS},
            "dns": {"servers": ["127.0.0.1"]},
            "store": {"path": os.path.join(self.own, "store"), "reserve": "16M"},
            "delivery": {"site_connections": 100},
            "limits": {"body_memory": "256M", "drain_timeout": "2s"},
            "log": {"level": "info", "file": os.path.join(self.own, "log")},
            "admin": {"socket": os.path.join(self.own, "admin.sock")},
        }

    def start_fresh(self):
        os.makedirs(self.own)
        os.chmod(self.own, 0o755)
        with open(os.path.join(self.own, "log"), "w"):
            pass
        user = config.user(self.own)
        proc.run(["chown", user, self.own, os.path.join(self.own, "log")])
        with open(os.path.join(self.own, "bypost.yaml"), "w") as f:
            f.write(config.dump(self.config()))
        self.field.start_process(self.name, [self.field.program(build.DAEMON), "--config",
                                             os.path.join(self.own, "bypost.yaml")])
        self.attach()
        self.field.wait_listening(self.name, SERVER_IP, 25, self.name)
        for domain in MAILBOX_DOMAINS:
            self.ctl("user", "add", "user@" + domain, input="secret-7Qm2\n")

    def attach(self):
        pass

    def ctl(self, *args, **kwargs):
        return proc.run([self.field.program(build.CTL), "--socket",
                         os.path.join(self.own, "admin.sock"), *args], **kwargs).stdout

    def kept(self):
        queue = json.loads(self.ctl("status", "--json").splitlines()[0])["queue"]["messages"]
        users = [json.loads(line) for line in self.ctl("user", "list", "--json").splitlines()
                 if line.startswith("{")]
        return queue + sum(u.get("messages", 0) for u in users if "address" in u)

    def counters(self):
        return json.loads(self.ctl("counters", "--json").splitlines()[0])["counters"]

    def flush(self):
        self.ctl("queue", "retry", "--all", check=False)


class BypostTap(Bypost):
    """The same by a tap, whose other end is an interface of the generator's kernel."""

    name, title = "bypost-tap", "bypost (TAP)"
    wire, port_kind, device, mtu_most = TAP, "tap", "dtap0", 1500  # more its driver does not take
    optional = True

    def attach(self):
        self.field.tap(self.device, lambda: self.field.lives(self.name, self.name))


ALL = {s.name: s for s in (Postfix, Exim, OpenSMTPD, Dovecot, Bypost, BypostTap)}


def versions():
    """{title: version} of those unpacked and of this tree."""
    found = {}
    for name, package in (("Postfix", "postfix"), ("Exim", "exim4-daemon-light"),
                          ("OpenSMTPD", "opensmtpd"), ("Dovecot", "dovecot-core")):
        debs = glob.glob(f"{peers.PEERS}/{package}_*.deb")
        found[name] = os.path.basename(debs[0]).split("_")[1].replace("%3a", ":") if debs else "?"
    done = proc.run(proc.as_owner(["git", "-C", build.ROOT, "describe", "--always", "--dirty"]),
                    check=False, env=proc.owner_env())
    found["bypost"] = done.stdout.strip() if done.returncode == 0 else "?"
    return found
