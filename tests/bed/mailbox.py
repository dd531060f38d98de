# SPDX-License-Identifier: BSD-3-Clause
"""Reading a bed's mailboxes with Python's own imaplib and poplib."""

import contextlib
import imaplib
import poplib
import ssl

from bed import proc

BATCH = 100


def anybody():
    """A client's context that trusts whoever answers: what certificates are worth is tested elsewhere."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def imap(bed, user=1, timeout=60):
    with proc.inside(bed.ns):
        box = imaplib.IMAP4(bed.relay, 143, timeout=timeout)
    try:
        if "LOGINDISABLED" in box.capabilities:
            box.starttls(ssl_context=anybody())
        box.login(getattr(bed, f"user{user}"), getattr(bed, f"pass{user}"))
        yield box
    finally:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            box.logout()


@contextlib.contextmanager
def pop3(bed, user=1, timeout=60):
    with proc.inside(bed.ns):
        box = poplib.POP3(bed.relay, 110, timeout=timeout)
    try:
        capabilities = box.capa()
        if "USER" not in capabilities and "STLS" in capabilities:
            box.stls(context=anybody())
        box.user(getattr(bed, f"user{user}"))
        box.pass_(getattr(bed, f"pass{user}"))
        yield box
    finally:
        with contextlib.suppress(OSError, poplib.error_proto):
            if box.sock:  # whoever has said QUIT himself has none
                box.quit()


def count(box, folder="INBOX"):
    kind, data = box.select(folder, readonly=True)
    if kind != "OK":
        raise proc.Failure(f"EXAMINE {folder}: {data}")
    return int(data[0])


def messages(bed, user=1, folder="INBOX", first=1):
    """The messages from number first on, whole."""
    with imap(bed, user) as box:
        total, found = count(box, folder), []
        for start in range(first, total + 1, BATCH):
            end = min(start + BATCH - 1, total)
            kind, data = box.fetch(f"{start}:{end}", "(BODY.PEEK[])")
            if kind != "OK":
                raise proc.Failure(f"FETCH {start}:{end}: {data}")
            got = [d[1] for d in data if isinstance(d, tuple)]
            if len(got) != end - start + 1:
                raise proc.Failure(f"FETCH {start}:{end} brought {len(got)} messages")
            found += got
        return found


def wait_messages(bed, n, user=1, folder="INBOX", seconds=30):
    def enough():
        with imap(bed, user) as box:
            return count(box, folder) >= n
    proc.wait_for(f"{n} messages in {folder} of user {user}", enough, seconds, 0.2)
    return messages(bed, user, folder)
