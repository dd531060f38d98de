/* SPDX-License-Identifier: BSD-3-Clause
 * Who is local: what RCPT, LOGIN and local delivery ask about an address.  Answered from memory on
 * the asking core, without locks and without the store (store/directory.c implements it). */
#pragma once
#include "dataplane/base/bytes.h"

enum directory_verdict {
	DIRECTORY_REMOTE,       /* not a local domain */
	DIRECTORY_OK,           /* a mailbox */
	DIRECTORY_UNKNOWN_USER, /* local domain, no such mailbox: 550 5.1.1 */
	DIRECTORY_DISABLED,     /* 550 5.2.1 */
	DIRECTORY_OVER_QUOTA,   /* 452 4.2.2 */
};

struct directory_entry {
	uint32_t account;
	uint16_t shard;
};

struct directory {
	/* address: canonical local@domain (address.h).  Any thread; never blocks. */
	enum directory_verdict (*lookup)(
		const struct directory *d, struct bytes address, struct directory_entry *entry_r);
};
