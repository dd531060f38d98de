# SPDX-License-Identifier: BSD-3-Clause
"""Certificates for tests: an issuer, and what it issues."""

import os

from bed import proc

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Issuer:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder, name="Test issuer"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.chain, self.key = os.path.join(folder, "ca.crt"), os.path.join(folder, "ca.key")
        proc.run(["openssl", "req", "-x509", *CURVE, "-days", "2", "-subj", "/CN=" + name,
                  "-keyout", self.key, "-out", self.chain])

    def issue(self, name, days=2):
        """Paths of a certificate for a host (or a person) and of its key."""
        base = os.path.join(self.folder, name)
        request, ext = base + ".csr", base + ".ext"
        proc.run(["openssl", "req", "-new", *CURVE, "-subj", "/CN=" + name, "-keyout",
                  base + ".key", "-out", request])
        with open(ext, "w") as f:
            f.write(f"subjectAltName=DNS:{name}\n")
        proc.run(["openssl", "x509", "-req", "-in", request, "-CA", self.chain, "-CAkey", self.key,
                  "-CAcreateserial", "-days", str(days), "-extfile", ext, "-out", base + ".crt"])
        # The issuer's comes along: RFC 7672 3.1.2 wants it where a record names it.
        with open(base + ".crt", "a") as chain, open(self.chain) as issuer:
            chain.write(issuer.read())
        return base + ".crt", base + ".key"


def tlsa(path, usage=3, selector=1, matching=1):
    """The data of a TLSA record for a certificate, as a zone file has it."""
    digest = {1: "sha256", 2: "sha512"}[matching]
    what = (f"openssl x509 -in '{path}' -noout -pubkey | openssl pkey -pubin -outform DER"
            if selector else f"openssl x509 -in '{path}' -outform DER")
    done = proc.run(["sh", "-c", f"{what} | openssl dgst -{digest} -r"])
    return f"{usage} {selector} {matching} {done.stdout.split()[0]}"
