/* SPDX-License-Identifier: BSD-3-Clause
 * A figure that one thread writes and another may read meanwhile.  OWNER: the writer. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

static inline uint64_t figure_get(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static inline void figure_add(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(v, figure_get(v) + n, memory_order_relaxed);
}
