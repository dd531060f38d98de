/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/fixup: Bcc goes and nothing else, whole, octet by octet and at every split. */
#include "tests/unit/smtp/unit.h"
#include "dataplane/base/buf.h"
#include "dataplane/base/crc32c.h"
#include "smtp/fixup.h"

static const struct {
	const char *in, *out;
	unsigned seen;
	size_t header_n; /* of out */
} cases[] = {
	{"",							   "",				      0,          0 },
	{"\r\n",						       "\r\n",				  0,          2 },
	{"Bcc: a@b\r\n\r\nBcc: c\r\n",                                 "\r\nBcc: c\r\n",                        FIXUP_BCC,  2 },
	{"From: x\r\nBCC:\ta,\r\n b,\r\n\tc\r\nDate: y\r\n\r\n",       "From: x\r\nDate: y\r\n\r\n",
         FIXUP_FROM | FIXUP_BCC | FIXUP_DATE,									       20},
	{"bcc \t : a\r\nMessage-ID : m\r\n\r\nz",                      "Message-ID : m\r\n\r\nz",
         FIXUP_BCC | FIXUP_MESSAGE_ID,										      18},
	{"Resent-Bcc: a\r\nbcc-x: b\r\nXbcc: c\r\nbc: d\r\n\r\n",
         "bcc-x: b\r\nXbcc: c\r\nbc: d\r\n\r\n",								FIXUP_BCC,  28},
	{"bcc",							"bcc",				   0,          3 },
	{"bcc\r\nfrom\r\n\r\n",					"bcc\r\nfrom\r\n\r\n",                   0,          13},
	{"Bcc: a",						     "",				      FIXUP_BCC,  0 },
	{"Bcc: a\r\n",						 "",				      FIXUP_BCC,  0 },
	{" Bcc: a\r\nFrom: b\r\n\r\n",                                 " Bcc: a\r\nFrom: b\r\n\r\n",            FIXUP_FROM, 20},
	{"Bcc: a\r\nBcc: b\r\nTo: c\r\n\r\n",                          "To: c\r\n\r\n",                         FIXUP_BCC,  9 },
	{"X-A-Name-Much-Longer-Than-Any-Of-Ours: a\r\nBcc: b\r\n\r\n",
         "X-A-Name-Much-Longer-Than-Any-Of-Ours: a\r\n\r\n",                                                    FIXUP_BCC,  44},
	{"bcc                              : a\r\n\r\n",
         "bcc                              : a\r\n\r\n",                                                        0,          40},
	{"Fromm: a\r\nFro: b\r\n\r\nFrom: c\r\n",                      "Fromm: a\r\nFro: b\r\n\r\nFrom: c\r\n", 0,          20},
};

static void put(void *ctx, struct bytes run)
{
	buf_put(ctx, run);
}

static void check(unsigned i, const size_t *cuts, unsigned n)
{
	struct bytes in = bytes_str(cases[i].in), want = bytes_str(cases[i].out);
	struct fixup f = {0};
	uint8_t memory[256];
	struct buf out;

	buf_init(&out, memory, sizeof(memory));
	for (unsigned k = 0; k < n; k++) {
		size_t before = out.n;
		struct bytes part = bytes_first(in, cuts[k]);
		uint8_t *copy = malloc(part.n + !part.n);
		if (part.n)
			memcpy(copy, part.p, part.n);
		fixup_run(&f, bytes_make(copy, part.n), put, &out);
		free(copy);
		assert_true(out.n - before <= part.n + FIXUP_HELD_MAX);
		in = bytes_skip(in, part.n);
	}
	fixup_run(&f, in, put, &out);
	fixup_end(&f, put, &out);
	assert_bytes_equal(buf_view(&out), want);
	assert_int_equal(f.seen, cases[i].seen);
	assert_int_equal(f.size, want.n);
	assert_int_equal(f.header_bytes, cases[i].header_n);
	assert_int_equal(f.crc, crc32c(0, want.p, want.n));
}

static void test_whole_and_at_every_split(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n = strlen(cases[i].in), ones[128];
		check(i, NULL, 0);
		for (size_t cut = 0; cut <= n; cut++)
			check(i, &cut, 1);
		for (size_t k = 0; k < n; k++)
			ones[k] = 1;
		check(i, ones, (unsigned)n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_and_at_every_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
