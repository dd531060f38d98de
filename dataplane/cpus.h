/* SPDX-License-Identifier: BSD-3-Clause
 * CPU lists as text, and which CPUs the threads of bypost may use.  Any thread, no DPDK. */
#pragma once
#include <sched.h>
#include "dataplane/port.h"

/* "0", "0-3,6": returns 0 or -EINVAL. */
int cpus_parse(const char *text, cpu_set_t *cpus_r) WARN_UNUSED;
/* The same as text; false when it does not fit. */
bool cpus_format(const cpu_set_t *cpus, char *out, size_t cap);
/* CPUs a polling core may run on: those configured that are in ours, or all of ours.  -EINVAL: bad
 * text, or none of them is in ours. */
int cpus_of_core(
	const struct core_conf *core, const cpu_set_t *ours, cpu_set_t *cpus_r) WARN_UNUSED;
/* Does polling core i share a CPU with another thread of ours?  Two CPUs beyond the polling cores
 * are what main, the store's writer and the helpers need. */
bool cpus_shared(const struct dataplane_conf *conf, const cpu_set_t *ours, unsigned i);
