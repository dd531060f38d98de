/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/proxy: who the client is, whole and at every cut; lies about lengths. */
#include "tests/unit/smtp/unit.h"
#include "smtp/proxy.h"

#define V2       "\r\n\r\n\0\r\nQUIT\n"
#define V2_ADDR4 "\xc6\x12\x01\x01\xc6\x12\x00\x01\x0f\xa0\x00\x19"

static enum proxy_verdict parse(struct bytes in, struct proxy_header *h, size_t *used)
{
	uint8_t *copy = malloc(in.n + !in.n); /* exact, so that a sanitizer sees an overread */

	if (in.n)
		memcpy(copy, in.p, in.n);
	enum proxy_verdict v = proxy_parse(bytes_make(copy, in.n), h, used);
	free(copy);
	return v;
}

static const struct {
	struct bytes in;
	const char *from; /* NULL: nobody is named */
	uint16_t port;
} good[] = {
	{BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 4000 25\r\n"), "198.18.1.1", 4000 },
	{BYTES_LIT("PROXY TCP6 2001:2::1 2001:2::2 65535 25\r\n"),  "2001:2::1",  65535},
	{BYTES_LIT("PROXY UNKNOWN\r\n"),                            NULL,         0    },
	{BYTES_LIT("PROXY UNKNOWN ff:: ff:: 1 2\r\n"),              NULL,         0    },
	{BYTES_LIT(V2 "\x21\x11\x00\x0c" V2_ADDR4),                 "198.18.1.1", 4000 },
	{BYTES_LIT(V2 "\x21\x11\x00\x0f" V2_ADDR4 "\x04\x00\x00"),  "198.18.1.1", 4000 },
	{BYTES_LIT(V2 "\x20\x00\x00\x00"),                          NULL,         0    },
	{BYTES_LIT(V2 "\x20\x11\x00\x0c" V2_ADDR4),                 NULL,         0    },
};

static void test_good(void **state)
{
	struct proxy_header h;
	char text[IP_TEXT_MAX];
	size_t used;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(parse(good[i].in, &h, &used), PROXY_OK);
		assert_int_equal(used, good[i].in.n);
		assert_int_equal(h.given, good[i].from != NULL);
		assert_int_equal(
			h.unknown, memmem(good[i].in.p, good[i].in.n, "UNKNOWN", 7) != NULL);
		if (h.given) {
			assert_string_equal(ip_format(&h.from.ip, text), good[i].from);
			assert_int_equal(h.from.port, good[i].port);
			assert_int_equal(h.to.port, 25);
		}
		for (size_t n = 0; n < good[i].in.n; n++) {
			assert_int_equal(parse(bytes_first(good[i].in, n), &h, &used), PROXY_MORE);
			assert_int_equal(used, 0);
		}
	}
}

static const struct bytes bad[] = {
	BYTES_LIT("EHLO"),
	BYTES_LIT("X"),
	BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 4000 25\n\r\n"),
	BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 4000\r\n"),
	BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 4000 25 x\r\n"),
	BYTES_LIT("PROXY TCP4 198.18.1.1  198.18.0.1 4000 25\r\n"),
	BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 4000 65536\r\n"),
	BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 04000 25\r\n"),
	BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 -1 25\r\n"),
	BYTES_LIT("PROXY TCP4 2001:2::1 2001:2::2 1 2\r\n"),
	BYTES_LIT("PROXY TCP6 198.18.1.1 198.18.0.1 1 2\r\n"),
	BYTES_LIT("PROXY TCP5 198.18.1.1 198.18.0.1 1 2\r\n"),
	BYTES_LIT("PROXY TCP4 198.18.1.1 198.18.0.1 4000 25\rx"),
	BYTES_LIT("PROXY \r\n"),
	/* Version 2: an unknown version and command, families, lengths that lie. */
	BYTES_LIT(V2 "\x11"),
	BYTES_LIT(V2 "\x22"),
	BYTES_LIT(V2 "\x21\x00\x00\x00"),
	BYTES_LIT(V2 "\x21\x31\x00\xd8"),
	BYTES_LIT(V2 "\x21\x11\x00\x0b"),
	BYTES_LIT(V2 "\x21\x21\x00\x23"),
	BYTES_LIT(V2 "\x21\x11\xff\xff"),
	BYTES_LIT(V2 "\x20\x00\x03\xf1"),
};

static void test_bad(void **state)
{
	struct proxy_header h;
	size_t used;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(parse(bad[i], &h, &used), PROXY_BAD);
		assert_int_equal(used, 0);
	}
}

/* A line without an end is refused when it is too long, not kept. */
static void test_endless(void **state)
{
	uint8_t line[200];
	struct proxy_header h;
	size_t used;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "PROXY UNKNOWN ", 14);
	assert_int_equal(parse(bytes_make(line, 105), &h, &used), PROXY_MORE);
	assert_int_equal(parse(bytes_make(line, 106), &h, &used), PROXY_BAD);
	memcpy(line + 105, "\r\n", 2);
	assert_int_equal(parse(bytes_make(line, 107), &h, &used), PROXY_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_endless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
