/* SPDX-License-Identifier: BSD-3-Clause
 * Words of --so_flags: profiles of other systems, and single settings "name" or "name=value". */
#include "tests/packetdrill/library.h"

#define LINUX_RCVBUF   (15u << 20) /* its window scale is 8 */
#define FREEBSD_RCVBUF (4u << 20)  /* its window scale is 6 or 7 */

static void linux_set(struct pd_profile *p, uint64_t value)
{
	(void)value;
	p->rcv_buffer = LINUX_RCVBUF;
	p->merge = true;
	p->close_resets = true;
}

static void freebsd_set(struct pd_profile *p, uint64_t value)
{
	(void)value;
	p->rcv_buffer = FREEBSD_RCVBUF;
}

static void mtu_set(struct pd_profile *p, uint64_t value)
{
	p->mtu = (uint32_t)value;
}

static void rcvbuf_set(struct pd_profile *p, uint64_t value)
{
	p->rcv_buffer = (uint32_t)value;
}

static void merge_set(struct pd_profile *p, uint64_t value)
{
	p->merge = value;
}

static const struct {
	const char *name;
	void (*set)(struct pd_profile *p, uint64_t value);
	uint64_t min, max; /* min == max: the word takes no value and means this one */
} words_known[] = {
	{"linux",    linux_set,   1,    1       },
	{"freebsd",  freebsd_set, 1,    1       },
	{"mtu",      mtu_set,     576,  9000    },
	{"rcvbuf",   rcvbuf_set,  2048, 1u << 30},
	{"merge",    merge_set,   1,    1       },
	{"no-merge", merge_set,   0,    0       },
};

static bool word_apply(struct bytes word, struct pd_profile *p)
{
	ptrdiff_t eq = bytes_find(word, '=', 0);
	struct bytes name = eq < 0 ? word : bytes_first(word, (size_t)eq);
	uint64_t value = 0;

	for (unsigned i = 0; i < ARRAY_LEN(words_known); i++) {
		if (!bytes_eq(name, bytes_str(words_known[i].name)))
			continue;
		if (words_known[i].min == words_known[i].max)
			value = words_known[i].min;
		else if (eq < 0 || bytes_to_u64(bytes_skip(word, (size_t)eq + 1), &value) ||
			 value < words_known[i].min || value > words_known[i].max)
			return false;
		words_known[i].set(p, value);
		return true;
	}
	if (bytes_eq(name, BYTES_LIT("local")) && eq >= 0) {
		p->has_local = ip_parse(bytes_skip(word, (size_t)eq + 1), &p->local) == 0;
		return p->has_local;
	}
	return false;
}

void pd_profile_parse(const char *words, struct pd_profile *p_r)
{
	struct bytes left = bytes_str(words);

	*p_r = (struct pd_profile){0};
	while (left.n) {
		ptrdiff_t comma = bytes_find(left, ',', 0);
		struct bytes word = comma < 0 ? left : bytes_first(left, (size_t)comma);
		left = bytes_skip(left, word.n + (comma >= 0));
		if (word.n && !word_apply(word, p_r))
			fprintf(stderr, "so_flags: \"%.*s\" is not known or has no good value\n",
				(int)word.n, (const char *)word.p);
	}
}
