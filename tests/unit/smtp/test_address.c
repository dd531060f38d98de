/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/address: the path grammar and its canonical form. */
#include "tests/unit/smtp/unit.h"
#include <errno.h>
#include "smtp/address.h"

static const struct {
	const char *in, *canonical;
	size_t domain_at;
} good[] = {
	{"<a@b.example>",                       "a@b.example",                   2 },
	{"<A@B.Example>",                       "A@b.example",                   2 },
	{"<\"a\"@b.example>",                   "a@b.example",                   2 },
	{"<\"a.b\"@b.example>",                 "a.b@b.example",                 4 },
	{"<\"a b\"@b.example>",                 "\"a b\"@b.example",             6 },
	{"<\".a\"@b.example>",                  "\".a\"@b.example",              5 },
	{"<\"\"@b.example>",                    "\"\"@b.example",                3 },
	{"<\"\\\"\\\\\"@b.example>",            "\"\\\"\\\\\"@b.example",        7 },
	{"<@x.example,@y.example:a@b.example>", "a@b.example",                   2 },
	{"<!#$%&'*+-/=?^_`{|}~@b.example>",     "!#$%&'*+-/=?^_`{|}~@b.example", 20},
	{"<a@[198.18.0.1]>",                    "a@[198.18.0.1]",                2 },
	{"<a@[IPv6:::1]>",                      "a@[IPv6:::1]",                  2 },
};

static const struct {
	const char *in;
	int err;
} bad[] = {
	{"",		      -EINVAL},
	{"<",		     -EINVAL},
	{"<a",		    -EINVAL},
	{"<a@",		   -EINVAL},
	{"<a@b",		  -EINVAL},
	{"<a@b.example",          -EINVAL},
	{"a@b.example",           -EINVAL},
	{"<>",		    -EINVAL}, /* as a forward-path */
	{"<a@b.example.>",        -EINVAL},
	{"<a\x80@b.example>",     -EINVAL},
	{"<\"a\x80\"@b.example>", -EINVAL},
	{"<\"a\n\"@b.example>",   -EINVAL},
	{"<\"a\\\n\"@b.example>", -EINVAL},
	{"<\"a\\",                -EINVAL},
	{"<a@[]>",                -EINVAL},
	{"<a@[1.2.3.4]x>",        -EINVAL},
	{"<@x.example:>",         -EINVAL},
	{"<@>",		   -EINVAL},
};

static int parse(struct bytes in, unsigned kind, struct buf *out, struct address *a)
{
	size_t used;
	/* Exact size: a sanitizer sees every overread. */
	uint8_t *copy = malloc(in.n ? in.n : 1);

	if (in.n)
		memcpy(copy, in.p, in.n);
	int err = address_parse_path(bytes_make(copy, in.n), kind, out, a, &used);
	assert_true(used <= in.n);
	free(copy);
	return err;
}

static void test_canonical_form(void **state)
{
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		buf_init(&out, memory, sizeof(memory));
		assert_int_equal(parse(bytes_str(good[i].in), ADDRESS_FORWARD, &out, &a), 0);
		assert_bytes_equal(a.text, bytes_str(good[i].canonical));
		assert_int_equal(a.domain_at, good[i].domain_at);
	}
}

/* Parsing the canonical form gives the canonical form. */
static void test_canonical_form_is_stable(void **state)
{
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		buf_init(&out, memory, sizeof(memory));
		struct bytes in = bytes_str(good[i].canonical);
		assert_int_equal(address_parse_mailbox(in, &out, &a), 0);
		assert_bytes_equal(a.text, in);
	}
}

static void test_every_prefix_of_a_path_is_none(void **state)
{
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		struct bytes whole = bytes_str(good[i].in);
		for (size_t n = 0; n < whole.n; n++) {
			buf_init(&out, memory, sizeof(memory));
			assert_true(parse(bytes_first(whole, n), ADDRESS_FORWARD, &out, &a) < 0);
			assert_int_equal(out.n, 0);
		}
	}
}

static void test_what_is_no_path(void **state)
{
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		buf_init(&out, memory, sizeof(memory));
		assert_int_equal(
			parse(bytes_str(bad[i].in), ADDRESS_FORWARD, &out, &a), bad[i].err);
		assert_int_equal(out.n, 0);
	}
}

static void test_null_path_and_postmaster(void **state)
{
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;

	(void)state;
	buf_init(&out, memory, sizeof(memory));
	assert_int_equal(parse(BYTES_LIT("<>"), ADDRESS_REVERSE, &out, &a), 0);
	assert_int_equal(a.text.n, 0);
	assert_int_equal(parse(BYTES_LIT("<PostMaster>"), ADDRESS_FORWARD, &out, &a), 0);
	assert_bytes_equal(a.text, BYTES_LIT("postmaster"));
	assert_int_equal(a.domain_at, a.text.n);
	assert_int_equal(parse(BYTES_LIT("<postmaster>"), ADDRESS_REVERSE, &out, &a), -EINVAL);
	assert_int_equal(parse(BYTES_LIT("<root>"), ADDRESS_FORWARD, &out, &a), -EINVAL);
}

/* n times c, then the rest. */
static struct bytes padded(struct buf *b, const char *before, char c, size_t n, const char *after)
{
	b->n = 0;
	buf_str(b, before);
	for (size_t i = 0; i < n; i++)
		buf_byte(b, (uint8_t)c);
	buf_str(b, after);
	assert_false(b->overflow);
	return buf_view(b);
}

static void test_length_limits(void **state)
{
	uint8_t in_memory[1024], memory[ADDRESS_MAX];
	struct buf in, out;
	struct address a;

	(void)state;
	buf_init(&in, in_memory, sizeof(in_memory));
	static const struct {
		const char *before, *after;
		size_t n;
		int err;
	} cases[] = {
		{"<",   "@b.example>",    64,  0            },
		{"<",   "@b.example>",    65,  -ENAMETOOLONG},
		{"<\"", "@\"@b.example>", 61,  0            },
		{"<\"", "@\"@b.example>", 62,  -ENAMETOOLONG},
		{"<\"", "\"@b.example>",  500, -ENAMETOOLONG},
		{"<a@", ".example>",      63,  0            },
		{"<a@", ".example>",      64,  -ENAMETOOLONG},
	};
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		buf_init(&out, memory, sizeof(memory));
		struct bytes path = padded(&in, cases[i].before, 'x', cases[i].n, cases[i].after);
		assert_int_equal(parse(path, ADDRESS_FORWARD, &out, &a), cases[i].err);
	}
	/* A path of 256 octets with its brackets is the longest (labels of 1 octet). */
	for (size_t n = 250; n < 260; n++) {
		in.n = 0;
		buf_str(&in, "<a@");
		while (in.n < n - 2)
			buf_str(&in, (in.n & 1) ? "x" : ".");
		while (in.n < n - 1)
			buf_str(&in, "y");
		buf_str(&in, ">");
		buf_init(&out, memory, sizeof(memory));
		int err = parse(buf_view(&in), ADDRESS_FORWARD, &out, &a);
		assert_int_equal(err, n <= PATH_MAX_OCTETS ? 0 : -ENAMETOOLONG);
	}
}

static void test_small_output_is_an_error(void **state)
{
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;

	(void)state;
	for (size_t cap = 0; cap < 11; cap++) {
		buf_init(&out, memory, cap);
		assert_int_equal(
			parse(BYTES_LIT("<a@b.example>"), ADDRESS_FORWARD, &out, &a), -ENOSPC);
		assert_int_equal(out.n, 0);
		assert_false(out.overflow);
	}
}

static void test_domain_names(void **state)
{
	(void)state;
	assert_true(address_domain_valid(BYTES_LIT("b.example")));
	assert_true(address_domain_valid(BYTES_LIT("1.2-3.x")));
	assert_false(address_domain_valid(BYTES_LIT("")));
	assert_false(address_domain_valid(BYTES_LIT("b.example.")));
	assert_false(address_domain_valid(BYTES_LIT("b_c.example")));
	assert_false(address_domain_valid(BYTES_LIT("b\0.example")));
}

/* RFC 6531: labels in ASCII, the local part as it came; whole and at every cut. */
static void test_utf8(void **state)
{
	static const struct {
		const char *in, *canonical; /* NULL: refused */
	} cases[] = {
		{"<\xc3\xa4@b\xc3\xbc"
		 "cher.example>", "\xc3\xa4@xn--bcher-kva.example"},
		{"<a@B\xc3\x9c"
		 "CHER.example>", "a@xn--bcher-kva.example"       },
		{"<a@bu\xcc\x88"
		 "cher.example>", "a@xn--bcher-kva.example"       },
		{"<a@fa\xc3\x9f.example>",         "a@xn--fa-hia.example"          },
		{"<a\xcc\x88@b.example>",          "a\xcc\x88@b.example"           },
		{"<\"\xc3\xa4 b\"@b.example>",     "\"\xc3\xa4 b\"@b.example"      },
		{"<\"\xc3\xa4\"@b.example>",       "\xc3\xa4@b.example"            },
		{"<a@\xe4\xbe\x8b\xe3\x80\x82"
		 "example>",      "a@xn--fsq.example"             },
		{"<a@\xc3.example>",               NULL                            },
		{"<\xc3@b.example>",               NULL                            },
		{"<\xed\xa0\x80@b.example>",       NULL                            },
		{"<a@\xe2\x80\x8b.example>",       NULL                            },
		{"<a@-\xc3\xa4.example>",          NULL                            },
		{"<a@\xc3\xa4 .example>",          NULL                            },
		{"<a@\xc3\xa4..example>",          NULL                            },
	};
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct bytes whole = bytes_str(cases[i].in);
		buf_init(&out, memory, sizeof(memory));
		int err = parse(whole, ADDRESS_FORWARD | ADDRESS_UTF8, &out, &a);
		assert_int_equal(err, cases[i].canonical ? 0 : -EINVAL);
		if (err == 0)
			assert_bytes_equal(a.text, bytes_str(cases[i].canonical));
		for (size_t n = 0; n < whole.n; n++) {
			buf_init(&out, memory, sizeof(memory));
			assert_true(parse(bytes_first(whole, n), ADDRESS_UTF8, &out, &a) < 0);
		}
	}
	buf_init(&out, memory, sizeof(memory));
	assert_int_equal(parse(BYTES_LIT("<\xc3\xa4@b>"), ADDRESS_FORWARD, &out, &a), -EILSEQ);
	assert_int_equal(parse(BYTES_LIT("<a@\xc3\xa4>"), ADDRESS_REVERSE, &out, &a), -EILSEQ);
	assert_int_equal(parse(BYTES_LIT("<a@b>"), ADDRESS_UTF8, &out, &a), 0);
	assert_false(a.utf8);
}

static void test_canonical_domains(void **state)
{
	uint8_t memory[DOMAIN_MAX + 1], long_one[260];
	struct buf out;

	(void)state;
	buf_init(&out, memory, sizeof(memory));
	assert_int_equal(address_domain_canonical(BYTES_LIT("B\xc3\xbc"
							    "cher.Example"),
				 &out),
		0);
	assert_bytes_equal(buf_view(&out), BYTES_LIT("xn--bcher-kva.example"));
	buf_init(&out, memory, sizeof(memory));
	assert_int_equal(address_domain_canonical(BYTES_LIT("[198.18.0.1]"), &out), -EINVAL);
	assert_int_equal(address_domain_canonical(BYTES_LIT("a b"), &out), -EINVAL);
	assert_int_equal(address_domain_canonical(BYTES_NONE, &out), -EINVAL);
	assert_int_equal(out.n, 0);
	/* 64 letters of two octets: too long a label in both forms. */
	for (unsigned i = 0; i < 128; i += 2)
		memcpy(long_one + i, "\xc3\xa4", 2);
	assert_true(address_domain_canonical(bytes_make(long_one, 128), &out) < 0);
	memset(long_one, 'a', sizeof(long_one));
	memcpy(long_one + 258, "\xc3\xa4", 2);
	assert_int_equal(address_domain_canonical(bytes_make(long_one, 260), &out), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_canonical_domains),
		cmocka_unit_test(test_canonical_form),
		cmocka_unit_test(test_canonical_form_is_stable),
		cmocka_unit_test(test_every_prefix_of_a_path_is_none),
		cmocka_unit_test(test_what_is_no_path),
		cmocka_unit_test(test_null_path_and_postmaster),
		cmocka_unit_test(test_length_limits),
		cmocka_unit_test(test_small_output_is_an_error),
		cmocka_unit_test(test_domain_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
