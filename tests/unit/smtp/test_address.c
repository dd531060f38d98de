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

static int parse(struct bytes in, enum address_kind kind, struct buf *out, struct address *a)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
