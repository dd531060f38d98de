/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/saslprep.h"
#include <errno.h>
#include "tests/unit/smtp/unit.h"

static int prepare(const char *in, size_t n, enum saslprep_use use, struct buf *out)
{
	static char memory[SASLPREP_MAX];

	buf_init(out, memory, sizeof(memory));
	return saslprep(bytes_make(in, n), use, out);
}

static const struct {
	const char *in, *out; /* out NULL: prohibited */
} cases[] = {
  /* RFC 4013 3 */
	{"I\u00adX",     "IX"          },
	{"user",         "user"        },
	{"USER",         "USER"        },
	{"\u00aa",       "a"           },
	{"\u2168",       "IX"          },
	{"\x07",         NULL          },
	{"\u06271",      NULL          },
 /* the same in two ways of typing; spaces; directions */
	{"jo\u0308rg",   "j\u00f6rg"   },
	{"a\u00a0b",     "a b"         },
	{"\u0627\u0628", "\u0627\u0628"},
	{"a\u0627",      NULL          },
	{"\ue000",       NULL          },
	{"\u200e",       NULL          },
	{"",	     ""            },
	{"two words",    "two words"   },
	{"a\x7f",        NULL          },
	{"a\nb",         NULL          },
	{"\xc3\x28",     NULL          },
	{"\xff",         NULL          },
	{"\xed\xa0\x80", NULL          },
};

static void test_cases(void **state)
{
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		int err = prepare(cases[i].in, strlen(cases[i].in), SASLPREP_QUERY, &out);
		assert_int_equal(err, cases[i].out ? 0 : -EINVAL);
		assert_bytes_equal(buf_view(&out), bytes_str(cases[i].out ? cases[i].out : ""));
	}
}

/* Prepared once more it does not change. */
static void test_is_stable(void **state)
{
	char once[SASLPREP_MAX];
	struct buf out;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		if (!cases[i].out)
			continue;
		assert_int_equal(
			prepare(cases[i].in, strlen(cases[i].in), SASLPREP_QUERY, &out), 0);
		size_t n = out.n;
		memcpy(once, out.p, n);
		assert_int_equal(prepare(once, n, SASLPREP_QUERY, &out), 0);
		assert_bytes_equal(buf_view(&out), bytes_make(once, n));
	}
}

static void test_unassigned_is_not_stored(void **state)
{
	struct buf out;

	(void)state;
	assert_int_equal(prepare("\u0221", 2, SASLPREP_QUERY, &out), 0);
	assert_int_equal(prepare("\u0221", 2, SASLPREP_STORED, &out), -EINVAL);
}

static void test_bounds(void **state)
{
	char small[4], many[3 * 512];
	struct buf out;

	(void)state;
	assert_int_equal(prepare("a\0b", 3, SASLPREP_QUERY, &out), -EINVAL);
	assert_int_equal(prepare("\u00e4\0b", 4, SASLPREP_QUERY, &out), -EINVAL);
	for (size_t i = 0; i < sizeof(many); i += 3)
		memcpy(many + i, "\ufdfa", 3); /* grows to 18 characters */
	assert_int_equal(prepare(many, sizeof(many), SASLPREP_QUERY, &out), -ENAMETOOLONG);
	assert_int_equal(prepare(many, 900, SASLPREP_QUERY, &out), -ENAMETOOLONG);
	assert_int_equal(out.n, 0);
	buf_init(&out, small, sizeof(small));
	assert_int_equal(saslprep(BYTES_LIT("12345"), SASLPREP_QUERY, &out), -ENOSPC);
	assert_int_equal(saslprep(BYTES_LIT("\u00e4\u00e4\u00e4"), SASLPREP_QUERY, &out), -ENOSPC);
	assert_int_equal(out.n, 0);
	assert_false(out.overflow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_is_stable),
		cmocka_unit_test(test_unassigned_is_not_stored),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
