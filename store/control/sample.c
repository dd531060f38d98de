/* SPDX-License-Identifier: BSD-3-Clause
 * Rates: a few looks at the counters, a quarter of a second apart. */
#include "store/control/daemon.h"

/* Cores register their counters as "core0", "core1" ... */
static const struct counters *core_counters(unsigned core)
{
	char name[16];

	snprintf(name, sizeof(name), "core%u", core);
	for (unsigned i = 0; i < counters_count(); i++) {
		if (strcmp(counters_get(i)->thread, name) == 0)
			return counters_get(i);
	}
	return NULL;
}

uint64_t core_counter(unsigned core, enum counter c)
{
	const struct counters *block = core_counters(core);

	return block ? atomic_load_explicit(&block->value[c], memory_order_relaxed) : 0;
}

void sample_take(struct daemon *d)
{
	struct sample *s = &d->samples[d->sample_count++ % SAMPLES];

	s->at_us = clock_mono_us();
	s->messages_in = counters_sum(CTR_SMTP_MESSAGES_IN);
	s->messages_out = counters_sum(CTR_DELIVERY_DELIVERED);
	for (unsigned i = 0; i < d->core_count; i++) {
		s->busy_us[i] = core_counter(i, CTR_CORE_BUSY_US);
		s->idle_us[i] = core_counter(i, CTR_CORE_IDLE_US);
	}
}

bool sample_window(const struct daemon *d, const struct sample **old_r, const struct sample **new_r)
{
	unsigned n = MIN(d->sample_count, (unsigned)SAMPLES);

	if (n < 2)
		return false;
	*new_r = &d->samples[(d->sample_count - 1) % SAMPLES];
	*old_r = &d->samples[(d->sample_count - n) % SAMPLES];
	return true;
}
