/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/crossing.h"

#define BODY_MAX   6000
#define BODY_LARGE 40000
#define LARGE_OF   12 /* one in so many */

static uint32_t rnd(uint64_t *x, uint32_t n)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (uint32_t)((*x >> 16) % n);
}

void crossing_make(uint64_t seed, uint32_t n, struct crossing *c)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (uint64_t)(n + 1) << 20;

	for (int i = 0; i < 8; i++)
		rnd(&x, 2);
	*c = (struct crossing){.id = CROSSING_ID_BASE + n,
		.bytes = CROSSING_LABEL + rnd(&x, rnd(&x, LARGE_OF) ? BODY_MAX : BODY_LARGE),
		.locals = rnd(&x, 1u << CROSSING_ACCOUNTS),
		.remote = rnd(&x, CROSSING_REMOTE_MAX + 1),
		.streamed = rnd(&x, 2),
		.is_delivered = rnd(&x, 2)};
	if (!c->locals)
		c->locals = 1u << rnd(&x, CROSSING_ACCOUNTS);
}

void crossing_address(unsigned account, char out[40])
{
	snprintf(out, 40, "user%u@example.org", account);
}

uint8_t crossing_octet(uint64_t id, uint64_t at)
{
	if (at < CROSSING_LABEL)
		return (uint8_t)(id >> 8 * at);
	return (uint8_t)(id * 31 + at * 7 + (at >> 8));
}
