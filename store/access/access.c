/* SPDX-License-Identifier: BSD-3-Clause
 * OWNER: the control core's thread. */
#include "store/access/access.h"
#include <errno.h>
#include "smtp/address.h"
#include "smtp/saslprep.h"
#include "store/directory.h"

#define EVENTS_PER_LAP 64 /* hints looked at in one lap; chosen */

/* ---- credit ---- */

static void lane_on_credit(void *ctx)
{
	struct access_lane *lane = ctx;

	while (!list_empty(&lane->waiters)) {
		struct access_waiter *w =
			list_entry(lane->waiters.next, struct access_waiter, node);
		if (channel_submit(lane->channel, w->op) < 0)
			return; /* told again by the channel */
		list_remove(&w->node);
		w->op = NULL;
	}
}

static struct access_lane *lane_of(struct access *a, const struct channel *ch)
{
	for (unsigned i = 0; i < a->lane_count; i++) {
		if (a->lanes[i].channel == ch)
			return &a->lanes[i];
	}
	return NULL;
}

void access_submit(struct access *a, struct channel *ch, struct op *op, struct access_waiter *w)
{
	struct access_lane *lane = lane_of(a, ch);

	BUG_ON(!lane || w->op);
	if (list_empty(&lane->waiters) && channel_submit(ch, op) == 0)
		return;
	w->op = op;
	list_push_tail(&lane->waiters, &w->node);
}

static void lane_add(struct access *a, struct channel *ch)
{
	if (!ch || lane_of(a, ch))
		return;
	struct access_lane *lane = &a->lanes[a->lane_count++];
	lane->channel = ch;
	list_init(&lane->waiters);
	ch->on_credit = lane_on_credit;
	ch->ctx = lane;
}

struct channel *access_reader(struct access *a, uint32_t account)
{
	return a->readers[store_account_shard(account, a->shard_count)]
			 [account / a->shard_count % a->reader_count];
}

struct channel *access_writer(struct access *a, uint32_t account)
{
	return a->writers[store_account_shard(account, a->shard_count)];
}

/* ---- events ---- */

static struct list *bucket_of(struct access *a, uint64_t event)
{
	return &a->watches[(event ^ event >> 32) * 0x9e3779b97f4a7c15ull >> 56];
}

void access_watch_set(struct access *a, struct access_watch *w, uint64_t event)
{
	if (w->event)
		list_remove(&w->node);
	w->event = event;
	if (event)
		list_push_tail(bucket_of(a, event), &w->node);
}

/* event 0: everybody (hints were dropped). */
static void tell(const _Atomic uint64_t *stamps, struct list *bucket, uint64_t event)
{
	uint64_t commit_us = 0;

	if (event && stamps)
		commit_us = atomic_load_explicit(
			&stamps[mbox_event_stamp(event)], memory_order_relaxed);
	list_for_each_safe(it, tmp, bucket)
	{
		struct access_watch *w = list_entry(it, struct access_watch, node);
		w->commit_us = commit_us;
		if (!event || w->event == event)
			w->changed(w);
	}
}

static unsigned events_take(struct access *a, unsigned shard)
{
	struct hints *from = a->events[shard];
	void *events[EVENTS_PER_LAP];
	unsigned n = hints_take(from, events, EVENTS_PER_LAP);

	for (unsigned i = 0; i < n; i++)
		tell(a->event_us[shard], bucket_of(a, (uintptr_t)events[i]), (uintptr_t)events[i]);
	if (hints_overflow_take(from) != UINT64_MAX) {
		for (unsigned i = 0; i < ACCESS_WATCH_BUCKETS; i++)
			tell(NULL, &a->watches[i], 0);
	}
	return n;
}

static unsigned events_poll(void *ctx, uint64_t now_us)
{
	struct access *a = ctx;
	unsigned n = 0;

	(void)now_us;
	for (unsigned i = 0; i < a->shard_count; i++)
		n += events_take(a, i);
	return n;
}

int access_prepare(struct access *a)
{
	if (a->prepared)
		return 0;
	for (unsigned i = 0; i < ACCESS_WATCH_BUCKETS; i++)
		list_init(&a->watches[i]);
	for (unsigned s = 0; s < a->shard_count; s++) {
		lane_add(a, a->writers[s]);
		for (unsigned i = 0; i < a->reader_count; i++)
			lane_add(a, a->readers[s][i]);
	}
	lane_add(a, a->passwords);
	a->prepared = true;
	if (!a->events[0])
		return 0;
	return core_add_poller(a->core, (struct poller){.poll = events_poll, .ctx = a});
}

/* ---- login ---- */

static void login_end(struct login *l, enum login_result result)
{
	l->busy = false;
	explicit_bzero(l->password.password, sizeof(l->password.password));
	explicit_bzero(l->password.hash, sizeof(l->password.hash));
	explicit_bzero(l->credentials.hash, sizeof(l->credentials.hash));
	l->done(l, result, result == LOGIN_OK ? l->credentials.account : 0);
}

static void password_done(struct op *op)
{
	struct login *l = container_of(op, struct login, password.op);

	if (op->status == 0 && l->credentials.op.status == 0)
		login_end(l, LOGIN_OK);
	else
		login_end(l, op->status == 0 || op->status == -EACCES ? LOGIN_WRONG : LOGIN_BUSY);
}

static void credentials_done(struct op *op)
{
	struct login *l = container_of(op, struct login, credentials.op);

	if (op->status != 0 && op->status != -ENOENT) {
		login_end(l, LOGIN_BUSY);
		return;
	}
	/* An unknown user goes the same way with an empty hash: the helper takes its time. */
	l->password.hash[0] = 0;
	if (op->status == 0 && l->credentials.hash_n < sizeof(l->password.hash)) {
		memcpy(l->password.hash, l->credentials.hash, l->credentials.hash_n);
		l->password.hash[l->credentials.hash_n] = 0;
	}
	l->password.op = (struct op){.done = password_done, .kind = PASSWORD_VERIFY};
	if (channel_submit(l->access->passwords, &l->password.op) < 0)
		login_end(l, LOGIN_BUSY);
}

/* The name as the directory has it: prepared (RFC 4013), its domain in A-labels, in lower case.
 * What is no address is nobody's. */
static void address_fold(struct login *l, struct bytes user)
{
	char prepared[SASLPREP_MAX], canonical[ADDRESS_MAX];
	struct buf name, out;
	struct address parsed;

	buf_init(&name, prepared, sizeof(prepared));
	buf_init(&out, canonical, sizeof(canonical));
	l->address_n = 0;
	if (saslprep(user, SASLPREP_QUERY, &name) == 0 &&
		address_parse_mailbox(buf_view(&name), &out, &parsed) == 0)
		l->address_n = directory_fold(buf_view(&out), l->address);
}

void login_start(struct login *l, struct access *a, struct bytes user, struct bytes password)
{
	/* Too long for any account, or a NUL that crypt(3) would stop at: fails like a wrong one.
	 */
	bool usable = user.n <= sizeof(l->address) && password.n <= PASSWORD_MAX &&
		      bytes_find(password, 0, 0) < 0;
	size_t n = usable ? password.n : 0;
	if (n)
		memcpy(l->password.password, password.p, n);
	l->password.password[n] = 0;
	login_look_up(l, a, usable ? user : BYTES_NONE, credentials_done);
}

void login_look_up(struct login *l, struct access *a, struct bytes user, op_done_fn done)
{
	BUG_ON(l->busy);
	l->busy = true;
	l->access = a;
	address_fold(l, user);
	l->credentials.op = (struct op){.done = done, .kind = STORE_READ_CREDENTIALS};
	l->credentials.address = bytes_make(l->address, l->address_n);
	l->credentials.account = 0;
	l->credentials.hash_n = 0;
	unsigned shard = store_address_shard(l->credentials.address, a->shard_count);
	access_submit(a, a->readers[shard][l->address_n % a->reader_count], &l->credentials.op,
		&l->waiter);
}
