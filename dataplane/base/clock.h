/* SPDX-License-Identifier: BSD-3-Clause
 * Time.  Polling cores read it once per lap and pass it on; engines take it as an argument. */
#pragma once
#include <time.h>
#include "dataplane/base/check.h"

#define US_PER_MS  1000ull
#define US_PER_SEC 1000000ull
#define MS_PER_SEC 1000ull

/* Microseconds of CLOCK_MONOTONIC: intervals and deadlines.  vDSO, no system call. */
static inline uint64_t clock_mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * US_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* Milliseconds since 1970 UTC: what is stored and shown. */
static inline uint64_t clock_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * MS_PER_SEC + (uint64_t)ts.tv_nsec / 1000000;
}
