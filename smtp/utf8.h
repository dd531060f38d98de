/* SPDX-License-Identifier: BSD-3-Clause
 * UTF-8 as mail has it (RFC 3629, RFC 6531, RFC 6532).  Any thread, no allocation. */
#pragma once
#include "dataplane/base/bytes.h"

/* Octets of the character that in begins with, 1..4; 0: it is not well formed (too long a form, a
 * surrogate, beyond U+10FFFF, cut off), or there is none. */
unsigned utf8_char(struct bytes in);
/* Well formed throughout; ASCII is. */
bool utf8_valid(struct bytes in);
/* What octets there are in a text, all of it looked at in one go. */
enum octet_kind {
	OCTET_CONTROL = 1 << 0, /* below space, but the tab, and DEL */
	OCTET_BEYOND = 1 << 1,  /* not ASCII */
};
unsigned octet_kinds(struct bytes in);
/* Is there an octet beyond ASCII? */
static inline bool utf8_needed(struct bytes in)
{
	return octet_kinds(in) & OCTET_BEYOND;
}
