/* SPDX-License-Identifier: BSD-3-Clause
 * What a submission server does to the header of its users' mail (RFC 6409 8): Bcc goes (RFC 5322
 * 3.6.3), and it notes which of the fields that must be there are not.  A filter of content on its
 * way into memory: streaming, equal at every split, no allocation.  One owner. */
#pragma once
#include "smtp/data.h"

#define FIXUP_HELD_MAX                                                                             \
	24 /* octets of a field's name, and spaces behind it, that may be held back */

enum fixup_field { FIXUP_FROM = 1, FIXUP_DATE = 2, FIXUP_MESSAGE_ID = 4, FIXUP_BCC = 8 };

struct fixup {
	uint8_t state; /* enum of fixup.c */
	uint8_t seen;  /* enum fixup_field */
	uint8_t held_n;
	uint8_t held[FIXUP_HELD_MAX];
	/* of what has been let through */
	uint32_t crc; /* CRC-32C */
	uint64_t size;
	uint64_t header_bytes; /* final after fixup_end */
};

/* Zero it before each message.  Content in, content out: in runs, at most FIXUP_HELD_MAX octets
 * more than come in. */
void fixup_run(struct fixup *f, struct bytes in, data_sink sink, void *ctx);
/* The content is whole. */
void fixup_end(struct fixup *f, data_sink sink, void *ctx);
