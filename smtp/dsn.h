/* SPDX-License-Identifier: BSD-3-Clause
 * What a sender asks of delivery status notifications (RFC 3461): values of NOTIFY, RET, ENVID and
 * ORCPT.  ENVID and ORCPT are kept as they were said, in xtext, and forwarded so: what is decoded
 * is for reports, and is checked here to be printable.  Any thread, no allocation. */
#pragma once
#include "dataplane/base/buf.h"

#define DSN_ENVID_MAX 100 /* octets of xtext, RFC 3461 4.4 */
#define DSN_ORCPT_MAX 500 /* octets with the address type, RFC 3461 4.2 */

enum dsn_notify {
	NOTIFY_NEVER = 1,
	NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8,
	/* Not from a peer, in the queue only: the mail is in its mailbox, and the report of that is
	 * what is still to be made. */
	NOTIFY_DELIVERED = 128,
	/* The same: the sender has been told of the delay. */
	NOTIFY_WARNED = 64,
	/* With DELIVERED: not in a mailbox, but handed to more than one address behind an alias. */
	NOTIFY_EXPANDED = 16,
	/* Likewise: an operator returns it; no attempt, only the report. */
	NOTIFY_RETURN = 32,
	/* Likewise: its mailbox, in another shard, is full or gone. */
	NOTIFY_REFUSED = 16,
};
#define NOTIFY_FROM_PEER (NOTIFY_NEVER | NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY)

/* How much of the message comes back with a failure (RFC 3461 4.3). */
enum dsn_ret { RET_DEFAULT, RET_FULL, RET_HDRS };

/* Of one recipient. */
struct dsn_rcpt {
	uint8_t notify;     /* enum dsn_notify, 0: not given */
	struct bytes orcpt; /* "rfc822;xtext"; empty: not given */
};

/* "NEVER", or of SUCCESS, FAILURE, DELAY each at most once with commas between.  False: neither. */
bool dsn_notify_parse(struct bytes value, uint8_t *notify_r);
/* The value that stands for the bits, appended; 0: nothing. */
void dsn_notify_format(struct buf *out, uint8_t notify);
bool dsn_ret_parse(struct bytes value, enum dsn_ret *ret_r);
bool dsn_envid_valid(struct bytes xtext);
/* Type and xtext.  utf8: octets of UTF-8 may stand for themselves (RFC 6533 3). */
bool dsn_orcpt_valid(struct bytes value, bool utf8);
/* Decoded and appended.  Returns 0, or -EINVAL: no xtext, or it hides something that cannot be
 * printed (then out is as it was). */
int dsn_xtext_decode(struct buf *out, struct bytes xtext) WARN_UNUSED;
/* Encoded and appended. */
void dsn_xtext_encode(struct buf *out, struct bytes text);
