/* SPDX-License-Identifier: BSD-3-Clause
 * Mail addresses (RFC 5321 4.1.2): one strict parse whose canonical form is what policy, routing,
 * logs and the store see.  Any thread, no allocation. */
#pragma once
#include "dataplane/base/buf.h"
#include "smtp/envelope.h"

enum address_kind {
	ADDRESS_REVERSE, /* MAIL: <> is a path */
	ADDRESS_FORWARD, /* RCPT: <postmaster> is a path */
	ADDRESS_UTF8,    /* bit, with one of these: SMTPUTF8 (RFC 6531 3.3) */
};

/* A parsed address.  Canonical: local part quoted only where it must be, domain in lower case and
 * in A-labels (RFC 5890), so that what is equal looks equal, literals as ip_format writes them,
 * source route gone.  UTF-8 in a local part is kept as it came: RFC 6531 forbids to normalize it.
 */
struct address {
	struct bytes text;  /* local@domain in the caller's buffer; empty: <> */
	uint16_t domain_at; /* offset of the domain; = text.n for postmaster without one */
	bool literal;       /* the domain is [address] */
	bool utf8;          /* the local part is beyond ASCII */
};

/* Parse the path that in begins with.  The canonical form is appended to out (ADDRESS_MAX octets
 * are enough).  *used_r: octets of the path, brackets included.  Returns 0; -EINVAL: not a path
 * (control octets and ill-formed UTF-8 are none); -EILSEQ: beyond ASCII without ADDRESS_UTF8;
 * -ENAMETOOLONG: a part exceeds RFC 5321 4.5.3.1;
 * -ENOSPC: out is full.  After an error out is as it was. */
int address_parse_path(struct bytes in, unsigned kind, struct buf *out, struct address *address_r,
	size_t *used_r) WARN_UNUSED;
/* The whole view is a mailbox without brackets: local@domain, UTF-8 allowed.  Errors as above. */
int address_parse_mailbox(struct bytes in, struct buf *out, struct address *address_r) WARN_UNUSED;
/* A domain name (RFC 5321 4.1.2 Domain, 255 octets, labels of 63): letters, digits, hyphens. */
bool address_domain_valid(struct bytes domain);
/* The canonical form of a domain name, A-labels in lower case, appended.  Returns 0, -EINVAL,
 * -ENAMETOOLONG or -ENOSPC.  Allocates for a name beyond ASCII (libidn2), and only then. */
int address_domain_canonical(struct bytes domain, struct buf *out) WARN_UNUSED;
