/* SPDX-License-Identifier: BSD-3-Clause
 * UTF-8 as mail has it (RFC 3629, RFC 6531, RFC 6532).  Any thread, no allocation. */
#pragma once
#include "dataplane/base/bytes.h"

/* Octets of the character that in begins with, 1..4; 0: it is not well formed (too long a form, a
 * surrogate, beyond U+10FFFF, cut off), or there is none. */
unsigned utf8_char(struct bytes in);
/* Well formed throughout; ASCII is. */
bool utf8_valid(struct bytes in);
/* Is there an octet beyond ASCII? */
bool utf8_needed(struct bytes in);
