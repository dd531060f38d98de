/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/refresh.h"
#include <errno.h>
#include "dataplane/base/log.h"
#include "delivery/delivery_priv.h"

#define HINTS_PER_POLL  64
#define SLICE_ROWS      512
#define SCAN_SPACING_US (200 * US_PER_MS)
#define RETRY_US        US_PER_SEC
#define FULL_AFTER_US   (60 * US_PER_SEC)
#define CLOCK_SLACK_MS  60000 /* a row may be due so much before its message's id says */
#define SOON_MS         60000 /* what is due within this has a claim to memory */
#define EVICT_BUDGET    1024  /* nodes looked at in a poll */

static void on_slice(struct op *op);
static void on_one(struct op *op);

void refresh_init(struct delivery *d)
{
	for (unsigned i = 0; i < d->ch.shard_count; i++) {
		d->refresh[i] = (struct refresh){
			.d = d,
			.shard = i,
			.loading = true,
			.hole_ms = UINT64_MAX,
			.horizon_ms = 0, /* everything is in the store */
			.full_at_us = UINT64_MAX,
		};
	}
}

static struct refresh *refresh_of(struct delivery *d, uint64_t id)
{
	return &d->refresh[delivery_shard(d, id)];
}

/* New mail, due at ms or a little later, is not in memory. */
static void note_hole(struct refresh *f, uint64_t ms)
{
	f->hole_ms = MIN(f->hole_ms, ms);
}

/* What is due at ms and everything later may not be in memory. */
static void note_horizon(struct refresh *f, uint64_t ms)
{
	f->horizon_ms = MIN(f->horizon_ms, ms);
}

/* A hint was lost: mostly new mail, but it may have been about a row released by an operator. */
static void note_lost(struct refresh *f, uint64_t ms)
{
	note_hole(f, ms);
	f->full_at_us = MIN(f->full_at_us, f->d->core->now_us + FULL_AFTER_US);
}

static uint64_t id_to_ms(uint64_t id)
{
	uint64_t ms = id >> 16; /* rt/ids.h */

	return ms > CLOCK_SLACK_MS ? ms - CLOCK_SLACK_MS : 0;
}

/* ---- ready hints ---- */

static void intake_rcpt(struct delivery *d, struct job *j, const struct message *m, uint32_t i)
{
	const struct rcpt *r = message_rcpt(m, i);
	struct bytes domain = message_rcpt_domain(m, r);

	if (r->route != RCPT_REMOTE || !delivery_owns(d, domain) ||
		schedule_find(&d->schedule, m->id, i) != SCHEDULE_NONE)
		return;
	uint32_t node = delivery_add(d, m->id, i, domain, 0, m->priority);
	if (node == SCHEDULE_NONE) {
		note_hole(refresh_of(d, m->id), id_to_ms(m->id));
		return;
	}
	if (j)
		job_tie(d, j, node, i);
	delivery_enqueue(d, node);
}

/* A new message: its memory is used for the first attempt if there is room for it. */
static void intake(struct delivery *d, struct message *m)
{
	struct job *j = d->draining ? NULL : job_begin(d, m);

	for (uint32_t i = 0; !d->draining && i < m->rcpt_count; i++)
		intake_rcpt(d, j, m, i);
	if (j)
		job_unref(d, j);
	else
		message_unref(m);
}

static void changed(struct refresh *f, uint64_t id)
{
	if (f->ids_n == REFRESH_IDS_MAX)
		note_lost(f, id_to_ms(id));
	else
		f->ids[(f->ids_head + f->ids_n++) % REFRESH_IDS_MAX] = id;
}

static unsigned hints_poll(struct refresh *f)
{
	struct delivery *d = f->d;
	void *hints[HINTS_PER_POLL];
	unsigned n = hints_take(d->ch.ready[f->shard], hints, HINTS_PER_POLL);
	uint64_t lost = hints_overflow_take(d->ch.ready[f->shard]);

	for (unsigned i = 0; i < n; i++) {
		struct message *m;
		uint64_t id = ready_hint_take(hints[i], &m);
		if (m)
			intake(d, m);
		else
			changed(f, id);
	}
	if (lost != UINT64_MAX)
		note_lost(f, id_to_ms(lost));
	return n;
}

/* ---- rows of the store ---- */

/* False: no room in the schedule. */
static bool take_row(struct refresh *f, const struct schedule_row *row, struct bytes domain)
{
	struct delivery *d = f->d;

	if (row->state != QUEUE_SCHEDULED || !delivery_owns(d, domain))
		return true;
	uint32_t node = schedule_find(&d->schedule, row->id, row->rcpt);
	if (node != SCHEDULE_NONE) {
		const struct schedule_node *n = delivery_node(d, node);
		delivery_prioritise(d, node, row->priority);
		if (n->state == SCHEDULE_WAITING && row->next_ms < n->next_ms)
			delivery_wait(d, node, row->next_ms);
		return true;
	}
	if (schedule_room(&d->schedule) == 0) {
		note_horizon(f, row->next_ms);
		return false;
	}
	node = delivery_add(d, row->id, row->rcpt, domain, row->attempts, row->priority);
	if (node == SCHEDULE_NONE)
		note_horizon(f, row->next_ms); /* no room for its domain */
	else
		delivery_wait(d, node, row->next_ms);
	return true;
}

/* Records of a chunk: head, domain, padding to 8. */
static bool take_rows(struct refresh *f, const struct chunk *c)
{
	size_t at = 0;

	while (c->n - at >= sizeof(struct schedule_row)) {
		const struct schedule_row *row = (const void *)(c->data + at);
		size_t n = sizeof(*row) + row->domain_n;
		if (n > c->n - at)
			break;
		if (!take_row(f, row, bytes_make(row + 1, row->domain_n)))
			return false;
		at += (n + 7) & ~(size_t)7;
		if (at > c->n)
			break;
	}
	return true;
}

static void scan_end(struct refresh *f)
{
	f->scanning = false;
	f->loading = false;
	f->scan_from_us = f->d->core->now_us + SCAN_SPACING_US;
}

static void on_slice(struct op *op)
{
	struct refresh *f = container_of(op, struct refresh, slice.op);
	struct delivery *d = f->d;
	bool room = true;

	f->reading = false;
	if (op->status != 0) {
		if (op->status != -ENOBUFS)
			log_warn("delivery", "schedule-read error=%d", op->status);
		f->scan_from_us = d->core->now_us + RETRY_US; /* the slice again */
		chain_free(&f->slice.out);
		return;
	}
	for (const struct chunk *c = f->slice.out.head; c && room; c = c->next)
		room = take_rows(f, c);
	chain_free(&f->slice.out);
	if (!room || f->slice.end || f->slice.from_ms > f->scan_until_ms)
		scan_end(f);
}

/* ---- a message that an operator changed ---- */

/* It is not to be tried: the store has it no more, or an operator holds it. */
static void one_drop(struct delivery *d, uint32_t node)
{
	if (node == SCHEDULE_NONE)
		return;
	if (delivery_node(d, node)->state == SCHEDULE_WAITING || attempt_withdraw(d, node))
		delivery_forget(d, node);
}

static void one_gone(struct delivery *d, uint64_t id)
{
	for (uint32_t i = 0; i < MESSAGE_RCPT_MAX; i++)
		one_drop(d, schedule_find(&d->schedule, id, i));
}

/* Due now by an operator's wish: whatever held it back is asked anew. */
static void one_hurry(struct delivery *d, uint32_t node)
{
	struct domain *domain = delivery_domain(d, node);

	dest_domain_refresh(domain);
	dns_cache_drop(&d->cache, domain->name, DNS_MX);
	dns_cache_drop(&d->cache, domain->name, DNS_AAAA);
	dns_cache_drop(&d->cache, domain->name, DNS_A);
}

static void one_row(
	struct delivery *d, const struct message *m, uint32_t i, const struct queue_rcpt_row *row)
{
	uint64_t id = m->id;
	const struct rcpt *rcpt = message_rcpt(m, i);
	struct bytes domain = message_rcpt_domain(m, rcpt);
	uint32_t node = schedule_find(&d->schedule, id, row->rcpt);

	if (!delivery_owns(d, domain))
		return;
	if (row->state != QUEUE_SCHEDULED) {
		one_drop(d, node);
		return;
	}
	if (node == SCHEDULE_NONE) {
		node = delivery_add(
			d, id, row->rcpt, domain, (uint16_t)row->attempts, row->priority);
		if (node == SCHEDULE_NONE) {
			note_horizon(refresh_of(d, id), row->next_ms);
			return;
		}
		delivery_wait(d, node, row->next_ms);
	} else {
		/* To be given back: not tried with what memory has of it, but read anew. */
		bool back = rcpt->notify & NOTIFY_RETURN && attempt_withdraw(d, node);
		delivery_prioritise(d, node, row->priority);
		if (back || delivery_node(d, node)->state == SCHEDULE_WAITING)
			delivery_wait(d, node, row->next_ms);
	}
	if (row->next_ms <= d->core->now_ms)
		one_hurry(d, node);
}

static void one_rows(struct delivery *d, const struct queue_read_op *one)
{
	const struct message *m = one->message;
	uint32_t i = 0;

	for (const struct chunk *c = one->rows.head; c; c = c->next) {
		const struct queue_rcpt_row *rows = (const void *)c->data;
		for (uint32_t k = 0; k < c->n / sizeof(*rows) && i < m->rcpt_count; k++, i++)
			one_row(d, m, i, &rows[k]);
	}
}

static void on_one(struct op *op)
{
	struct refresh *f = container_of(op, struct refresh, one.op);
	struct queue_read_op *one = &f->one;

	f->reading = false;
	if (op->status == -ENOENT)
		one_gone(f->d, one->id);
	else if (op->status == 0 && one->message)
		one_rows(f->d, one);
	else
		note_hole(f, 0);
	if (op->status == 0 && one->message)
		message_unref(one->message);
	chain_free(&one->rows);
}

/* ---- what is read next ---- */

static void read_one(struct refresh *f)
{

	f->one = (struct queue_read_op){
		.op = {.done = on_one, .kind = STORE_READ_QUEUE},
		.id = f->ids[f->ids_head % REFRESH_IDS_MAX]
        };
	if (channel_submit(delivery_reader(f->d, f->one.id), &f->one.op) < 0)
		return;
	f->reading = true;
	f->ids_head++;
	f->ids_n--;
}

static void read_slice(struct refresh *f)
{
	struct channel *reader = f->d->ch.readers[f->shard][0];

	f->slice.op = (struct op){.done = on_slice, .kind = STORE_READ_SCHEDULE};
	f->slice.max_rows = SLICE_ROWS;
	f->slice.end = false;
	f->slice.out = (struct chain){0};
	f->reading = channel_submit(reader, &f->slice.op) == 0;
}

/* Chooses what to scan; false: nothing is worth it now. */
static bool scan_begin(struct refresh *f)
{
	struct delivery *d = f->d;
	uint64_t soon_ms = d->core->now_ms + SOON_MS, *from = NULL;
	uint32_t room = schedule_room(&d->schedule);

	if (d->core->now_us >= f->full_at_us) {
		f->full_at_us = UINT64_MAX;
		note_horizon(f, 0);
	}
	if (room == 0)
		return false;
	f->scan_until_ms = UINT64_MAX;
	if (f->hole_ms != UINT64_MAX) {
		from = &f->hole_ms;
		f->scan_until_ms = soon_ms;
	} else if (f->horizon_ms != UINT64_MAX &&
		   (f->loading || room >= d->schedule.max / 8 || f->horizon_ms <= soon_ms)) {
		from = &f->horizon_ms;
	}
	if (!from)
		return false;
	f->scanning = true;
	f->slice.from_ms = *from;
	f->slice.from_id = 0;
	f->slice.from_rcpt = 0;
	*from = UINT64_MAX;
	return true;
}

/* Does a scan want memory for what is due soon? */
static bool wants_room(const struct delivery *d, uint64_t soon_ms)
{
	for (unsigned i = 0; i < d->ch.shard_count; i++) {
		const struct refresh *f = &d->refresh[i];
		if (f->hole_ms != UINT64_MAX || f->horizon_ms <= soon_ms)
			return true;
	}
	return false;
}

/* Make room for what is due soon by leaving the latest to the store. */
static void evict(struct delivery *d)
{
	uint64_t soon_ms = d->core->now_ms + SOON_MS;
	uint32_t budget = EVICT_BUDGET, node;

	if (schedule_room(&d->schedule) >= d->schedule.max / 16 || !wants_room(d, soon_ms))
		return;
	uint64_t late_ms = MAX(soon_ms, schedule_late_ms(&d->schedule, d->core->now_us));
	while ((node = schedule_evict_next(&d->schedule, late_ms, &budget)) != SCHEDULE_NONE) {
		note_horizon(
			refresh_of(d, delivery_node(d, node)->id), delivery_node(d, node)->next_ms);
		delivery_forget(d, node);
	}
}

static void read_next(struct refresh *f)
{
	if (f->ids_n > 0)
		read_one(f);
	else if (f->d->core->now_us >= f->scan_from_us && (f->scanning || scan_begin(f)))
		read_slice(f);
}

unsigned refresh_poll(struct delivery *d)
{
	unsigned n = 0, reading = 0;

	for (unsigned i = 0; i < d->ch.shard_count; i++) {
		n += hints_poll(&d->refresh[i]);
		reading += d->refresh[i].reading;
	}
	if (d->draining)
		return n;
	evict(d);
	if (reading == 0)
		schedule_bury(&d->schedule);
	/* Who is to be buried waits for all reads: none begins before that. */
	for (unsigned i = 0; i < d->ch.shard_count && d->schedule.gone.count == 0; i++) {
		struct refresh *f = &d->refresh[i];
		if (f->reading)
			continue;
		read_next(f);
		n += f->reading;
	}
	return n;
}
