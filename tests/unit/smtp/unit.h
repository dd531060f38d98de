/* SPDX-License-Identifier: BSD-3-Clause
 * What every test file includes for cmocka, and a seeded generator. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dataplane/base/bytes.h"

#define assert_bytes_equal(a, b) assert_view_equal(a, b, __LINE__)

static inline void assert_view_equal(struct bytes a, struct bytes b, int line)
{
	if (!bytes_eq(a, b))
		fail_msg("line %d: '%.*s' is not '%.*s'", line, (int)a.n, a.p, (int)b.n, b.p);
}

/* xorshift64: the same sequence in every run. */
static inline uint64_t unit_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
