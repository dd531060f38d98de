/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/ip_pmtu.h"
#include "dataplane/stack_priv.h"

void ip_pmtu_init(struct stack *st)
{
	st->pmtu.key.k0 = st->env.random64(st->env.ctx);
	st->pmtu.key.k1 = st->env.random64(st->env.ctx);
}

static struct pmtu_entry *set_of(struct stack *st, const struct ip_addr *to)
{
	return st->pmtu.entries[siphash13(&st->pmtu.key, to, sizeof(*to)) % PMTU_SETS];
}

static uint32_t age_ms(const struct stack *st, const struct pmtu_entry *e)
{
	return stack_ms(st) - e->at_ms;
}

static struct pmtu_entry *entry_find(struct stack *st, const struct ip_addr *to)
{
	struct pmtu_entry *set = set_of(st, to);

	for (unsigned i = 0; i < PMTU_WAYS; i++) {
		struct pmtu_entry *e = &set[i];
		if (!e->mtu)
			continue;
		if (age_ms(st, e) >= PMTU_US / US_PER_MS) {
			e->mtu = 0;
			st->pmtu.used--;
		} else if (ip_eq(&e->to, to)) {
			return e;
		}
	}
	return NULL;
}

uint16_t ip_pmtu_get(struct stack *st, const struct ip_addr *to)
{
	const struct pmtu_entry *e = st->pmtu.used ? entry_find(st, to) : NULL;

	return e ? e->mtu : 0;
}

/* A free place of the set, else the one that is known longest. */
static struct pmtu_entry *entry_add(struct stack *st, const struct ip_addr *to)
{
	struct pmtu_entry *set = set_of(st, to), *e = set;

	for (unsigned i = 0; i < PMTU_WAYS && e->mtu; i++) {
		if (!set[i].mtu || age_ms(st, &set[i]) > age_ms(st, e))
			e = &set[i];
	}
	st->pmtu.used += !e->mtu;
	*e = (struct pmtu_entry){.to = *to};
	return e;
}

uint16_t ip_pmtu_lower(struct stack *st, const struct ip_addr *to, uint16_t mtu)
{
	struct pmtu_entry *e = entry_find(st, to);
	uint16_t least = ip_is_v4(to) ? PMTU_MIN4 : PMTU_MIN6;

	mtu = MAX(mtu, least);
	if (!e)
		e = entry_add(st, to);
	else if (e->mtu <= mtu)
		return e->mtu;
	e->mtu = mtu;
	e->at_ms = stack_ms(st);
	counter_inc(CTR_IP_PMTU_LOWERED);
	return mtu;
}

/* RFC 1191 7.1, those that still occur. */
uint16_t ip_pmtu_plateau(uint32_t packet_n)
{
	static const uint16_t plateaus[] = {8166, 4352, 2002, 1492, 1280, 1006};

	for (unsigned i = 0; i < ARRAY_LEN(plateaus); i++) {
		if (plateaus[i] < packet_n)
			return plateaus[i];
	}
	return PMTU_MIN4;
}
