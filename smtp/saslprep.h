/* SPDX-License-Identifier: BSD-3-Clause
 * SASLprep (RFC 4013), by libidn's stringprep: the one form of a name or a password, so that what
 * looks equal is equal whichever keyboard it was typed on.  Any thread.  Allocates (libidn), but
 * not for what is ASCII. */
#pragma once
#include "dataplane/base/buf.h"

enum saslprep_use {
	SASLPREP_QUERY,  /* compared with what is stored: unassigned code points may be in it */
	SASLPREP_STORED, /* kept: they may not (RFC 3454 7) */
};

/* Appends the prepared text.  Returns 0; -EINVAL: no UTF-8, prohibited (control characters among
 * them), or of mixed direction; -ENAMETOOLONG: more than SASLPREP_MAX octets; -ENOSPC: out is full.
 * After an error out is as it was.  Nothing of in stays in memory of this module's. */
int saslprep(struct bytes in, enum saslprep_use use, struct buf *out) WARN_UNUSED;

#define SASLPREP_MAX 1024 /* octets of the result; chosen: longer than any name or password */
