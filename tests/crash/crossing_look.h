/* SPDX-License-Identifier: BSD-3-Clause
 * Do two environments hold between them what had been promised, each recipient once? */
#pragma once
#include "store/shards.h"
#include "tests/crash/crossing.h"

#define CROSSING_WHY_MAX 256

/* Recipients that were met at each place of their way, over all images. */
struct crossing_seen {
	uint64_t waiting;    /* in has not been made */
	uint64_t in_both;    /* out has not been made */
	uint64_t remembered; /* forget has not been made */
};

/* What the marks so far say. */
struct crossing_promise {
	uint64_t seed;
	uint32_t account[CROSSING_ACCOUNTS];
	bool begun;
	bool accepted[CROSSING_MAX], delivered[CROSSING_MAX];
	struct crossing_seen *seen; /* added to */
	uint32_t end;               /* no message from here on has been begun */
};

/* settled: the courier has had its time, nothing may be on its way any more.  False: why says the
 * first difference. */
bool crossing_look(const struct shards *s, const struct crossing_promise *p, bool settled,
	char why[CROSSING_WHY_MAX]);
