/* SPDX-License-Identifier: BSD-3-Clause
 * Assertions and compiler hints.  BUG_ON: programmer errors only, always compiled, aborts; never on
 * input of a peer.  Any thread. */
#pragma once
#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WARN_UNUSED   __attribute__((warn_unused_result))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define PRINTF(a, b)  __attribute__((format(printf, a, b)))
#ifndef likely
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#define CACHE_LINE   64
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))
#ifndef container_of /* DPDK has one as well */
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))
#endif

#define BUG_ON(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(cond)) {                                                              \
			fprintf(stderr, "BUG: %s:%d: %s\n", __FILE__, __LINE__, #cond);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
