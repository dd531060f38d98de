/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/tcp_table.h"

#define SLOTS_MIN    16u
#define STEP_AT_ONCE 32u        /* chosen: so many lines of the cache may be under way */
#define OLD          (1u << 31) /* in a cursor: it stands in the old slots */

uint32_t tcp_table_slots(uint32_t n)
{
	uint32_t slots = SLOTS_MIN;

	while (slots - slots / 4 < n)
		slots *= 2;
	return slots;
}

void tcp_table_clear(struct tcp_slot *memory, uint32_t slots)
{
	for (uint32_t i = 0; i < slots; i++)
		memory[i] = (struct tcp_slot){.ref = TCP_REF_NONE};
}

void tcp_table_init(struct tcp_table *t, struct tcp_slot *memory, uint32_t slots, uint32_t n,
	const struct siphash_key *key)
{
	*t = (struct tcp_table){
		.now = {memory, slots - 1},
                  .slots_max = tcp_table_slots(n), .key = *key
        };
}

/* ---- growth ---- */

uint32_t tcp_table_next_slots(const struct tcp_table *t)
{
	uint32_t slots = t->now.mask + 1;

	if (slots >= t->slots_max)
		return 0;
	return slots > t->slots_max / TCP_TABLE_GROWTH ? t->slots_max : slots * TCP_TABLE_GROWTH;
}

void tcp_table_grow(struct tcp_table *t, struct tcp_slot *memory)
{
	uint32_t slots = tcp_table_next_slots(t);

	BUG_ON(t->old.at || !slots);
	t->old = t->now;
	t->now = (struct tcp_slots){memory, slots - 1};
	t->moved = 0;
}

static void put(const struct tcp_slots *s, struct tcp_slot what)
{
	uint32_t i = what.hash & s->mask;

	while (s->at[i].ref != TCP_REF_NONE)
		i = (i + 1) & s->mask;
	s->at[i] = what;
}

static bool in_use(const struct tcp_slot *slot)
{
	return slot->ref < TCP_REF_MOVED;
}

static void move(struct tcp_table *t, uint32_t n)
{
	struct tcp_slot *from = t->old.at + t->moved;

	for (uint32_t i = 0; i < n; i++) {
		if (in_use(&from[i]))
			__builtin_prefetch(&t->now.at[from[i].hash & t->now.mask], 1);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!in_use(&from[i]))
			continue;
		put(&t->now, from[i]);
		from[i].ref = TCP_REF_MOVED;
	}
	t->moved += n;
}

struct tcp_slot *tcp_table_step(struct tcp_table *t, uint32_t n)
{
	struct tcp_slot *old = t->old.at;
	uint32_t left = t->old.mask + 1 - t->moved;

	if (!old)
		return NULL;
	for (n = MIN(n, left); n > 0; n -= MIN(n, STEP_AT_ONCE))
		move(t, MIN(n, STEP_AT_ONCE));
	if (t->moved <= t->old.mask)
		return NULL;
	t->old.at = NULL;
	return old;
}

/* ---- looking, adding, removing ---- */

uint32_t tcp_table_hash(const struct tcp_table *t, const struct tcp_key *key)
{
	struct {
		uint32_t local, peer;
		uint16_t local_port, peer_port;
	} v4;

	if (!ip_is_v4(&key->peer))
		return (uint32_t)siphash13(&t->key, key, sizeof(*key));
	v4.local = ip_to_v4(&key->local);
	v4.peer = ip_to_v4(&key->peer);
	v4.local_port = key->local_port;
	v4.peer_port = key->peer_port;
	return (uint32_t)siphash13(&t->key, &v4, sizeof(v4));
}

/* As tcp_table_next, in one of the two. */
static uint32_t probe(const struct tcp_slots *s, uint32_t hash, uint32_t *pos)
{
	/* Slots are never all used, so a probe always meets an empty one. */
	for (uint32_t i = *pos;; i++) {
		const struct tcp_slot *slot = &s->at[(hash + i) & s->mask];
		if (slot->ref == TCP_REF_NONE)
			return TCP_REF_NONE;
		if (slot->hash == hash && slot->ref != TCP_REF_MOVED) {
			*pos = i + 1;
			return slot->ref;
		}
	}
}

uint32_t tcp_table_next(const struct tcp_table *t, uint32_t hash, uint32_t *pos)
{
	uint32_t ref = TCP_REF_NONE, in_old = *pos & ~OLD;

	if (!(*pos & OLD)) {
		ref = probe(&t->now, hash, pos);
		in_old = 0;
	}
	if (ref != TCP_REF_NONE || likely(!t->old.at))
		return ref;
	ref = probe(&t->old, hash, &in_old);
	*pos = in_old | OLD;
	return ref;
}

bool tcp_table_add(struct tcp_table *t, uint32_t hash, uint32_t ref)
{
	uint32_t slots = t->now.mask + 1;

	if (t->used >= slots - slots / 8)
		return false;
	put(&t->now, (struct tcp_slot){.hash = hash, .ref = ref});
	t->used++;
	/* the last one is left to tcp_table_step, whose caller takes the memory */
	if (unlikely(t->old.at))
		move(t, MIN(TCP_TABLE_ADD_STEP, t->old.mask - t->moved));
	return true;
}

/* The slot of the pair, or NULL. */
static struct tcp_slot *slot_in(const struct tcp_slots *s, uint32_t hash, uint32_t ref)
{
	uint32_t i = hash & s->mask;

	while (s->at[i].ref != ref) {
		if (s->at[i].ref == TCP_REF_NONE)
			return NULL;
		i = (i + 1) & s->mask;
	}
	return &s->at[i];
}

/* Close the gap: move back whatever was probed across it. */
static void take_out(const struct tcp_slots *s, uint32_t hole)
{
	for (uint32_t i = (hole + 1) & s->mask; s->at[i].ref != TCP_REF_NONE;
		i = (i + 1) & s->mask) {
		uint32_t home = s->at[i].hash & s->mask;
		if (((i - home) & s->mask) >= ((i - hole) & s->mask)) {
			s->at[hole] = s->at[i];
			hole = i;
		}
	}
	s->at[hole].ref = TCP_REF_NONE;
}

void tcp_table_remove(struct tcp_table *t, uint32_t hash, uint32_t ref)
{
	struct tcp_slot *slot = slot_in(&t->now, hash, ref);

	t->used--;
	if (slot) {
		take_out(&t->now, (uint32_t)(slot - t->now.at));
		return;
	}
	BUG_ON(!t->old.at);
	slot = slot_in(&t->old, hash, ref);
	BUG_ON(!slot);
	slot->ref = TCP_REF_MOVED;
}

void tcp_table_replace(struct tcp_table *t, uint32_t hash, uint32_t ref, uint32_t with)
{
	struct tcp_slot *slot = slot_in(&t->now, hash, ref);

	if (!slot && t->old.at)
		slot = slot_in(&t->old, hash, ref);
	BUG_ON(!slot);
	slot->ref = with;
}
