/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/tcp_table.h"

static uint32_t slots_for(uint32_t n)
{
	uint32_t slots = 16;

	while (slots - slots / 4 < n)
		slots *= 2;
	return slots;
}

size_t tcp_table_bytes(uint32_t n)
{
	return (size_t)slots_for(n) * sizeof(struct tcp_slot);
}

void tcp_table_init(struct tcp_table *t, void *memory, uint32_t n, const struct siphash_key *key)
{
	uint32_t slots = slots_for(n);

	*t = (struct tcp_table){
		.slots = memory, .mask = slots - 1, .used_max = slots - slots / 4, .key = *key};
	for (uint32_t i = 0; i < slots; i++)
		t->slots[i] = (struct tcp_slot){.ref = TCP_REF_NONE};
}

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

uint32_t tcp_table_next(const struct tcp_table *t, uint32_t hash, uint32_t *pos)
{
	/* The table is never full, so a probe always meets an empty slot. */
	for (uint32_t i = *pos;; i++) {
		const struct tcp_slot *slot = &t->slots[(hash + i) & t->mask];
		if (slot->ref == TCP_REF_NONE)
			return TCP_REF_NONE;
		if (slot->hash == hash) {
			*pos = i + 1;
			return slot->ref;
		}
	}
}

bool tcp_table_add(struct tcp_table *t, uint32_t hash, uint32_t ref)
{
	uint32_t i = hash & t->mask;

	if (t->used >= t->used_max)
		return false;
	while (t->slots[i].ref != TCP_REF_NONE)
		i = (i + 1) & t->mask;
	t->slots[i] = (struct tcp_slot){.hash = hash, .ref = ref};
	t->used++;
	return true;
}

static uint32_t slot_find(const struct tcp_table *t, uint32_t hash, uint32_t ref)
{
	uint32_t i = hash & t->mask;

	while (t->slots[i].ref != ref) {
		BUG_ON(t->slots[i].ref == TCP_REF_NONE);
		i = (i + 1) & t->mask;
	}
	return i;
}

void tcp_table_remove(struct tcp_table *t, uint32_t hash, uint32_t ref)
{
	uint32_t hole = slot_find(t, hash, ref);

	/* Close the gap: move back whatever was probed across it. */
	for (uint32_t i = (hole + 1) & t->mask; t->slots[i].ref != TCP_REF_NONE;
		i = (i + 1) & t->mask) {
		uint32_t home = t->slots[i].hash & t->mask;
		if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole].ref = TCP_REF_NONE;
	t->used--;
}

void tcp_table_replace(struct tcp_table *t, uint32_t hash, uint32_t ref, uint32_t with)
{
	t->slots[slot_find(t, hash, ref)].ref = with;
}
