# SPDX-License-Identifier: BSD-3-Clause
"""Other people's mail servers as next hops: Postfix, Exim, OpenSMTPD, and Dovecot's LMTP.

They are unpacked beside the other peers and see, in a mount namespace of their own, /usr, /etc and
/var as if they were installed, with the users they want; the host sees nothing of it.  The SMTP servers
send on what they take to another server, where the test looks at it."""

import os

from bed import peers

PROGRAMS = {
    "exim": ("exim4-daemon-light", "usr/sbin/exim4"),
    "opensmtpd": ("opensmtpd", "usr/sbin/smtpd"),
    "dovecot": ("dovecot-core", "usr/sbin/dovecot"),
    "dovecot-imap": ("dovecot-imapd", "usr/lib/dovecot/imap"),
    "dovecot-lmtp": ("dovecot-lmtpd", "usr/lib/dovecot/lmtp"),
    "ldns-signzone": ("ldnsutils", "usr/bin/ldns-signzone"),
}
# Users the servers want: name, number.
USERS = (("postfix", 991), ("postdrop", 992), ("opensmtpd", 993), ("opensmtpq", 994),
         ("dovecot", 995), ("dovenull", 996), ("Debian-exim", 997))

SANDBOX = """set -e
mount --make-rprivate /
for d in usr etc var; do
    mkdir -p {tree}/$d {own}/up/$d {own}/work/$d
    mount -t overlay overlay -o lowerdir={tree}/$d:/$d,upperdir={own}/up/$d,workdir={own}/work/$d /$d
done
{users}
ldconfig
{prepare}
exec {command}
"""


def prepare():
    """Make every one of them runnable."""
    for name in PROGRAMS:
        peers.prepare_program(name, *PROGRAMS[name])


def users():
    return "\n".join(f"grep -q '^{name}:' /etc/passwd || {{ "
                     f"echo '{name}:x:{number}:{number}::/:/bin/false' >> /etc/passwd; "
                     f"echo '{name}:x:{number}:' >> /etc/group; }}" for name, number in USERS)


def start(bed, name, command, files, steps="", address=None, port=25):
    """Start a server: files are written into its folder ({own} in their text), steps are shell
    commands before it."""
    own = bed.path(name)
    os.makedirs(own, exist_ok=True)
    os.chmod(own, 0o755)
    for file, text in files.items():
        with open(os.path.join(own, file), "w") as f:
            f.write(text.replace("{own}", own))
    script = SANDBOX.format(tree=peers.TREE, own=own, users=users(),
                            prepare=steps.replace("{own}", own),
                            command=command.replace("{own}", own))
    with open(own + ".sh", "w") as f:
        f.write(script)
    bed.start_process(name, ["unshare", "-m", "sh", own + ".sh"])
    bed.wait_listening(name, address or bed.sink_ip, port, name)


# Of any Postfix here; what it is for comes behind.
POSTFIX = """compatibility_level = 3.6
queue_directory = {own}/spool
data_directory = {own}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = %(name)s
inet_interfaces = %(ip)s
inet_protocols = ipv4
mydestination =
alias_maps =
smtpd_tls_cert_file = %(cert)s
smtpd_tls_key_file = %(key)s
smtp_host_lookup = native
maillog_file = {own}/log
maillog_file_prefixes = {own}
"""
POSTFIX_RELAY = POSTFIX + """mynetworks = 127.0.0.0/8
relay_domains = %(domain)s
relay_transport = smtp:[%(onward)s]:25
smtpd_tls_security_level = %(level)s
smtp_tls_security_level = %(onward_tls)s
smtputf8_enable = yes
"""
POSTFIX_MASTER = """smtp inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n - 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
POSTFIX_STEPS = """
for d in incoming active deferred bounce defer corrupt hold flush saved trace private pid public maildrop; do
    mkdir -p {own}/spool/$d; chown postfix {own}/spool/$d; done
chown root {own}/spool/pid
chgrp postdrop {own}/spool/public {own}/spool/maildrop
chmod 710 {own}/spool/public; chmod 730 {own}/spool/maildrop
mkdir -p {own}/data; chown postfix {own}/data"""


def start_postfix(bed, main):
    start(bed, "postfix", "/usr/lib/postfix/sbin/master -c {own} -d",
          {"main.cf": main, "master.cf": POSTFIX_MASTER}, POSTFIX_STEPS)


def postfix(bed, facts):
    start_postfix(bed, POSTFIX_RELAY % {"onward_tls": "none", **facts})


EXIM = """exim_user = nobody
exim_group = nogroup
primary_hostname = %(name)s
spool_directory = {own}/spool
log_file_path = {own}/%%slog
local_interfaces = %(ip)s
daemon_smtp_ports = 25
tls_advertise_hosts = *
tls_certificate = %(cert)s
tls_privatekey = %(key)s
acl_smtp_rcpt = everybody
host_lookup =
rfc1413_query_timeout = 0s
"""
EXIM_RELAY = EXIM + """dsn_advertise_hosts = *
begin acl
everybody:
  accept
begin routers
onward:
  driver = manualroute
  route_list = * %(onward)s byname
  transport = smtp
  self = send
begin transports
smtp:
  driver = smtp
  hosts_%(onward_tls)s_tls = *
  tls_verify_certificates =
"""


EXIM_STEPS = """mkdir -p /var/lib/exim4 {own}/spool; chown nobody {own}/spool {own}
cp {own}/exim.conf /var/lib/exim4/config.autogenerated
chmod 644 /var/lib/exim4/config.autogenerated"""


def start_exim(bed, conf, options):
    start(bed, "exim", "/usr/sbin/exim4 -bdf " + options, {"exim.conf": conf}, EXIM_STEPS)


def exim(bed, facts):
    facts = {**facts, "onward_tls": "require" if facts.get("onward_tls") == "encrypt" else "avoid"}
    start_exim(bed, EXIM_RELAY % facts, "-q1s")


OPENSMTPD = """pki ours cert "%(cert)s"
pki ours key "%(key)s"
listen on %(ip)s port 25 %(tls)s pki ours hostname "%(name)s"
action "onward" relay host "smtp://%(onward)s"
match from any for any action "onward"
"""


def opensmtpd(bed, facts):
    tls = "tls-require" if facts["level"] == "encrypt" else "tls"
    start(bed, "opensmtpd", "/usr/sbin/smtpd -d -f {own}/smtpd.conf",
          {"smtpd.conf": OPENSMTPD % {**facts, "tls": tls}},
          "mkdir -p /var/lib/opensmtpd/empty; chmod 600 {own}/smtpd.conf; chmod 600 " + facts["key"])


DOVECOT = """protocols = lmtp
base_dir = {own}/run
log_path = {own}/log
ssl = yes
ssl_cert = <%(cert)s
ssl_key = <%(key)s
mail_location = maildir:{own}/mail/%%u
mail_max_userip_connections = 100
first_valid_uid = 1
default_vsz_limit = 0
userdb {
  driver = static
  args = uid=65534 gid=65534 home={own}/mail/%%u allow_all_users=yes
}
passdb {
  driver = static
  args = nopassword=y
}
service lmtp {
  inet_listener lmtp {
    address = %(ip)s
    port = 24
  }
}
"""


def dovecot(bed, facts):
    """LMTP on port 24; mailboxes are {own}/mail/USER/new."""
    start(bed, "dovecot", "/usr/sbin/dovecot -F -c {own}/dovecot.conf",
          {"dovecot.conf": DOVECOT % facts}, "mkdir -p {own}/mail; chown nobody {own}/mail", port=24)
    return os.path.join(bed.path("dovecot"), "mail")
