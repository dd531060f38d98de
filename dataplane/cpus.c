/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/cpus.h"
#include <errno.h>

/* One number at *p; returns -EINVAL or the number and moves *p behind it. */
static int parse_number(const char **p)
{
	const char *s = *p;
	int v = 0;

	while (ascii_is_digit((uint8_t)*s) && v < CPU_SETSIZE)
		v = v * 10 + (*s++ - '0');
	if (s == *p || v >= CPU_SETSIZE)
		return -EINVAL;
	*p = s;
	return v;
}

int cpus_parse(const char *text, cpu_set_t *cpus_r)
{
	const char *p = text;

	CPU_ZERO(cpus_r);
	for (;;) {
		int first = parse_number(&p), last = first;
		if (first >= 0 && *p == '-') {
			p++;
			last = parse_number(&p);
		}
		if (first < 0 || last < first)
			return -EINVAL;
		for (int cpu = first; cpu <= last; cpu++)
			CPU_SET(cpu, cpus_r);
		if (*p == '\0')
			return 0;
		if (*p++ != ',')
			return -EINVAL;
	}
}

bool cpus_format(const cpu_set_t *cpus, char *out, size_t cap)
{
	struct buf b;

	buf_init(&b, out, cap);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		int last = cpu;
		if (!CPU_ISSET(cpu, cpus))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, cpus))
			last++;
		buf_printf(&b, last > cpu ? "%s%d-%d" : "%s%d", b.n ? "," : "", cpu, last);
		cpu = last;
	}
	buf_byte(&b, '\0');
	return !b.overflow;
}

int cpus_of_core(const struct core_conf *core, const cpu_set_t *ours, cpu_set_t *cpus_r)
{
	cpu_set_t wanted;

	*cpus_r = *ours;
	if (core->cpus[0] == '\0')
		return 0;
	if (cpus_parse(core->cpus, &wanted) < 0)
		return -EINVAL;
	CPU_AND(cpus_r, &wanted, ours);
	return CPU_COUNT(cpus_r) > 0 ? 0 : -EINVAL;
}

bool cpus_shared(const struct dataplane_conf *conf, const cpu_set_t *ours, unsigned i)
{
	cpu_set_t mine, other;

	if ((unsigned)CPU_COUNT(ours) < conf->core_count + 2)
		return true;
	if (cpus_of_core(&conf->cores[i], ours, &mine) < 0)
		return true;
	for (unsigned k = 0; k < conf->core_count; k++) {
		if (k == i || cpus_of_core(&conf->cores[k], ours, &other) < 0)
			continue;
		CPU_AND(&other, &other, &mine);
		if (CPU_COUNT(&other) > 0)
			return true;
	}
	return false;
}
