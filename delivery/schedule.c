/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/schedule.h"
#include <errno.h>

#define LATE_SAMPLES 64

int schedule_init(struct schedule *s, uint32_t max)
{
	*s = (struct schedule){.max = max, .free = SCHEDULE_NONE, .gone = SCHEDULE_LIST_EMPTY};
	siphash_key_random(&s->key);
	/* calloc of this size is fresh pages: resident only as far as it is used. */
	s->nodes = calloc(max, sizeof(*s->nodes));
	s->heap = calloc(max, sizeof(*s->heap));
	s->table = calloc(max, sizeof(*s->table));
	if (s->nodes && s->heap && s->table)
		return 0;
	schedule_fini(s);
	return -ENOMEM;
}

void schedule_fini(struct schedule *s)
{
	free(s->nodes);
	free(s->heap);
	free(s->table);
	s->nodes = NULL;
	s->heap = s->table = NULL;
}

/* Table slots hold 1 + index, so that zeroed memory is an empty table.  There are as many as nodes:
 * the hash is a fraction of them, which needs no power of two. */
static uint32_t *slot_of(const struct schedule *s, uint64_t id, uint32_t rcpt)
{
	uint64_t k[2] = {id, rcpt};
	uint64_t hash = siphash13(&s->key, k, sizeof(k)) >> 32;

	return &s->table[hash * s->max >> 32];
}

static void table_insert(struct schedule *s, uint32_t i)
{
	uint32_t *slot = slot_of(s, s->nodes[i].id, s->nodes[i].rcpt);

	s->nodes[i].hash_next = *slot;
	*slot = i + 1;
}

static void table_remove(struct schedule *s, uint32_t i)
{
	uint32_t *at = slot_of(s, s->nodes[i].id, s->nodes[i].rcpt);

	while (*at != i + 1) {
		BUG_ON(*at == 0);
		at = &s->nodes[*at - 1].hash_next;
	}
	*at = s->nodes[i].hash_next;
}

uint32_t schedule_find(const struct schedule *s, uint64_t id, uint32_t rcpt)
{
	for (uint32_t at = *slot_of(s, id, rcpt); at; at = s->nodes[at - 1].hash_next) {
		const struct schedule_node *n = &s->nodes[at - 1];
		if (n->id == id && n->rcpt == rcpt)
			return at - 1;
	}
	return SCHEDULE_NONE;
}

static uint32_t node_alloc(struct schedule *s)
{
	uint32_t i = s->free;

	if (i != SCHEDULE_NONE)
		s->free = s->nodes[i].next;
	else if (s->fresh < s->max)
		i = s->fresh++;
	return i;
}

uint32_t schedule_add(
	struct schedule *s, uint64_t id, uint32_t rcpt, uint32_t domain, uint16_t attempts)
{
	uint32_t i = node_alloc(s);

	if (i == SCHEDULE_NONE)
		return i;
	s->used++;
	s->nodes[i] = (struct schedule_node){.id = id,
		.rcpt = rcpt,
		.domain = domain,
		.attempts = attempts,
		.next = SCHEDULE_NONE,
		.state = SCHEDULE_DUE};
	table_insert(s, i);
	return i;
}

static bool earlier(const struct schedule *s, uint32_t a, uint32_t b)
{
	const struct schedule_node *x = &s->nodes[a], *y = &s->nodes[b];

	return x->next_ms != y->next_ms ? x->next_ms < y->next_ms : x->id < y->id;
}

static void heap_set(struct schedule *s, uint32_t pos, uint32_t i)
{
	s->heap[pos] = i;
	s->nodes[i].pos = pos;
}

static void heap_up(struct schedule *s, uint32_t pos, uint32_t i)
{
	while (pos > 0 && earlier(s, i, s->heap[(pos - 1) / 2])) {
		heap_set(s, pos, s->heap[(pos - 1) / 2]);
		pos = (pos - 1) / 2;
	}
	heap_set(s, pos, i);
}

static void heap_down(struct schedule *s, uint32_t pos, uint32_t i)
{
	for (uint64_t child; (child = 2 * (uint64_t)pos + 1) < s->heap_n; pos = (uint32_t)child) {
		if (child + 1 < s->heap_n && earlier(s, s->heap[child + 1], s->heap[child]))
			child++;
		if (!earlier(s, s->heap[child], i))
			break;
		heap_set(s, pos, s->heap[child]);
	}
	heap_set(s, pos, i);
}

static void heap_place(struct schedule *s, uint32_t pos, uint32_t i)
{
	if (pos > 0 && earlier(s, i, s->heap[(pos - 1) / 2]))
		heap_up(s, pos, i);
	else
		heap_down(s, pos, i);
}

static void heap_remove(struct schedule *s, uint32_t pos)
{
	uint32_t last = s->heap[--s->heap_n];

	if (pos < s->heap_n)
		heap_place(s, pos, last);
}

void schedule_wait(struct schedule *s, uint32_t i, uint64_t next_ms)
{
	struct schedule_node *n = &s->nodes[i];

	if (n->state == SCHEDULE_WAITING)
		heap_remove(s, n->pos);
	n->next_ms = next_ms;
	n->state = SCHEDULE_WAITING;
	heap_up(s, s->heap_n++, i);
}

uint32_t schedule_take_due(struct schedule *s, uint64_t now_ms)
{
	if (s->heap_n == 0 || s->nodes[s->heap[0]].next_ms > now_ms)
		return SCHEDULE_NONE;
	uint32_t i = s->heap[0];
	heap_remove(s, 0);
	s->nodes[i].state = SCHEDULE_DUE;
	s->nodes[i].job = 0;
	return i;
}

uint64_t schedule_next_ms(const struct schedule *s)
{
	return s->heap_n ? s->nodes[s->heap[0]].next_ms : UINT64_MAX;
}

void schedule_remove(struct schedule *s, uint32_t i)
{
	struct schedule_node *n = &s->nodes[i];

	BUG_ON(n->state == SCHEDULE_FREE);
	if (n->state == SCHEDULE_WAITING)
		heap_remove(s, n->pos);
	table_remove(s, i);
	n->state = SCHEDULE_FREE;
	n->next = s->free;
	s->free = i;
	s->used--;
}

void schedule_retire(struct schedule *s, uint32_t i)
{
	struct schedule_node *n = &s->nodes[i];

	BUG_ON(n->state != SCHEDULE_WAITING && n->state != SCHEDULE_DUE);
	if (n->state == SCHEDULE_WAITING)
		heap_remove(s, n->pos);
	n->state = SCHEDULE_GONE;
	schedule_list_push(s, &s->gone, i);
}

void schedule_bury(struct schedule *s)
{
	uint32_t i;

	while ((i = schedule_list_pop(s, &s->gone)) != SCHEDULE_NONE)
		schedule_remove(s, i);
}

static void sort_u64(uint64_t *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		for (uint32_t k = i; k > 0 && v[k] < v[k - 1]; k--) {
			uint64_t t = v[k];
			v[k] = v[k - 1];
			v[k - 1] = t;
		}
	}
}

uint64_t schedule_late_ms(const struct schedule *s, uint64_t random)
{
	uint64_t sample[LATE_SAMPLES];

	if (s->heap_n == 0)
		return UINT64_MAX;
	for (uint32_t k = 0; k < LATE_SAMPLES; k++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		sample[k] = s->nodes[s->heap[(random >> 32) % s->heap_n]].next_ms;
	}
	sort_u64(sample, LATE_SAMPLES);
	return sample[LATE_SAMPLES - LATE_SAMPLES / 8];
}

uint32_t schedule_evict_next(struct schedule *s, uint64_t late_ms, uint32_t *budget)
{
	while (*budget > 0) {
		if (s->sweep >= s->fresh)
			s->sweep = 0;
		uint32_t i = s->sweep++;
		(*budget)--;
		if (s->nodes[i].state == SCHEDULE_WAITING && s->nodes[i].next_ms > late_ms)
			return i;
	}
	return SCHEDULE_NONE;
}

void schedule_list_push(struct schedule *s, struct schedule_list *l, uint32_t i)
{
	s->nodes[i].next = SCHEDULE_NONE;
	s->nodes[i].prev = l->tail;
	if (l->tail != SCHEDULE_NONE)
		s->nodes[l->tail].next = i;
	else
		l->head = i;
	l->tail = i;
	l->count++;
}

void schedule_list_push_head(struct schedule *s, struct schedule_list *l, uint32_t i)
{
	s->nodes[i].next = l->head;
	s->nodes[i].prev = SCHEDULE_NONE;
	if (l->head != SCHEDULE_NONE)
		s->nodes[l->head].prev = i;
	else
		l->tail = i;
	l->head = i;
	l->count++;
}

void schedule_list_remove(struct schedule *s, struct schedule_list *l, uint32_t i)
{
	struct schedule_node *n = &s->nodes[i];

	if (n->prev != SCHEDULE_NONE)
		s->nodes[n->prev].next = n->next;
	else
		l->head = n->next;
	if (n->next != SCHEDULE_NONE)
		s->nodes[n->next].prev = n->prev;
	else
		l->tail = n->prev;
	l->count--;
	n->next = n->prev = SCHEDULE_NONE;
}

uint32_t schedule_list_pop(struct schedule *s, struct schedule_list *l)
{
	uint32_t i = l->head;

	if (i != SCHEDULE_NONE)
		schedule_list_remove(s, l, i);
	return i;
}

bool schedule_list_has(const struct schedule *s, const struct schedule_list *l, uint32_t i)
{
	uint32_t steps = 0;

	for (uint32_t at = l->head; at != SCHEDULE_NONE && steps++ < l->count;
		at = s->nodes[at].next) {
		if (at == i)
			return true;
	}
	return false;
}
