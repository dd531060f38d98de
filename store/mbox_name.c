/* SPDX-License-Identifier: BSD-3-Clause
 * Mailbox names.  Any thread, no state. */
#include "store/mbox_name.h"

struct bytes mbox_name_canonical(struct bytes name)
{
	return bytes_ieq(name, BYTES_LIT("INBOX")) ? BYTES_LIT("INBOX") : name;
}

size_t utf8_sequence(struct bytes b)
{
	uint8_t c = b.p[0];
	size_t n = c < 0x80                ? 1
		   : c >= 0xc2 && c < 0xe0 ? 2
		   : c >= 0xe0 && c < 0xf0 ? 3
		   : c >= 0xf0 && c < 0xf5 ? 4
					   : 0;

	if (n == 0 || n > b.n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((b.p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((c == 0xe0 && b.p[1] < 0xa0) || (c == 0xed && b.p[1] > 0x9f) ||
		(c == 0xf0 && b.p[1] < 0x90) || (c == 0xf4 && b.p[1] > 0x8f))
		return 0;
	return n;
}

bool mbox_name_valid(struct bytes name)
{
	uint8_t last = MBOX_SEPARATOR;

	if (name.n == 0 || name.n > MBOX_NAME_MAX)
		return false;
	for (struct bytes b = name; b.n;) {
		size_t n = utf8_sequence(b);
		uint8_t c = b.p[0];
		if (n == 0 || c < 0x20 || c == 0x7f || c == '*' || c == '%')
			return false;
		if (c == MBOX_SEPARATOR && last == MBOX_SEPARATOR)
			return false;
		last = c;
		b = bytes_skip(b, n);
	}
	return last != MBOX_SEPARATOR;
}
