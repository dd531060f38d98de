/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz: paths.  The canonical form is printable, well-formed UTF-8, in ASCII where that was not
 * allowed and in its domain always, within the limits, and its own canonical form. */
#include "smtp/address.h"
#include "smtp/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct address *a, unsigned kind)
{
	uint8_t memory[ADDRESS_MAX];
	struct address again;
	struct buf out;

	BUG_ON(a->text.n > ADDRESS_MAX || a->domain_at > a->text.n);
	for (size_t i = 0; i < a->text.n; i++)
		BUG_ON(a->text.p[i] < ' ' || a->text.p[i] == 0x7f);
	BUG_ON(!utf8_valid(a->text) || (utf8_needed(a->text) && !(kind & ADDRESS_UTF8)));
	BUG_ON(utf8_needed(bytes_skip(a->text, a->domain_at)));
	BUG_ON(utf8_needed(a->text) != a->utf8);
	if (a->text.n == 0 || a->domain_at == a->text.n)
		return; /* <>, <postmaster> */
	BUG_ON(a->text.p[a->domain_at - 1] != '@');
	buf_init(&out, memory, sizeof(memory));
	BUG_ON(address_parse_mailbox(a->text, &out, &again) < 0);
	BUG_ON(!bytes_eq(again.text, a->text) || again.domain_at != a->domain_at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;
	size_t used;

	for (unsigned kind = 0; kind <= (ADDRESS_FORWARD | ADDRESS_UTF8); kind++) {
		buf_init(&out, memory, sizeof(memory));
		int err = address_parse_path(bytes_make(data, size), kind, &out, &a, &used);
		BUG_ON(used > size);
		BUG_ON(err < 0 && out.n);
		if (err == 0) {
			BUG_ON(used > PATH_MAX_OCTETS || data[used - 1] != '>');
			check(&a, kind);
		}
	}
	(void)address_domain_valid(bytes_make(data, size));
	buf_init(&out, memory, sizeof(memory));
	if (address_domain_canonical(bytes_make(data, size), &out) == 0)
		BUG_ON(!address_domain_valid(buf_view(&out)));
	return 0;
}
