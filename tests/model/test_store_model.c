/* SPDX-License-Identifier: BSD-3-Clause
 * Random operations against the store and against a model in memory, with restarts and injected
 * errors.  An op that was answered with success is in the model; one that was not has left no
 * trace; after every few steps both must be equal.  BYPOST_SEED=n replays one run, BYPOST_RUNS=n
 * runs more seeds, BYPOST_STEPS=n longer ones. */
#include <errno.h>
#include <lmdb.h>
#include <string.h>
#include "dataplane/base/clock.h"
#include "tests/model/fault.h"
#include "tests/unit/store/store_harness.h"

#define ACCOUNTS    3
#define BOX_NAMES   5
#define ROWS_MAX    400
#define QUEUE_MAX   200
#define RCPTS_MAX   4
#define STEPS       300
#define RUNS        6
#define CHECK_EVERY 10
#define BODY_MAX    60000
#define LATE_MAX    16

static const char *const box_names[BOX_NAMES] = {"INBOX", "a", "a/b", "c", "d"};
static const char *const addresses[ACCOUNTS] = {
	"ann@example.org", "bob@example.org", "eve@example.org"};

static const char *const remotes[] = {"x@one.example.net", "y@two.example.net"};

struct model_row {
	uint32_t uid, flags;
	uint64_t blob;
	size_t bytes;
};

struct model_box {
	bool exists;
	uint32_t uidnext;
	unsigned n;
	struct model_row rows[ROWS_MAX];
};

struct model_message {
	uint64_t id;
	size_t bytes;
	bool pending[RCPTS_MAX];
	bool two[RCPTS_MAX]; /* of the second domain */
};

static struct {
	uint32_t account[ACCOUNTS];
	struct model_box box[ACCOUNTS][BOX_NAMES];
	struct model_message queue[QUEUE_MAX];
	unsigned queue_n;
} model;

static struct harness h;
static uint64_t late_ids[LATE_MAX]; /* not used yet, but passed by others */
static unsigned late_n;
static uint64_t random_state, seed;
static unsigned step;
static unsigned ok_ops, failed_ops, restarts;

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "seed %llu step %u: %s:%d: %s\n",                          \
				(unsigned long long)seed, step, __FILE__, __LINE__, #cond);        \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static uint32_t rnd(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 16) % n);
}

/* ---- running an op, perhaps into an error ---- */

static void hints_drop(void)
{
	void *v;
	struct message *m;

	while (hints_take(&h.ready, &v, 1)) {
		ready_hint_take(v, &m);
		if (m)
			message_unref(m);
	}
	while (hints_take(&h.events, &v, 1)) {
	}
}

static void fault_maybe(void)
{
	static const int errors[] = {EIO, ENOSPC};
	static const int codes[] = {MDB_MAP_FULL, MDB_BAD_TXN, ENOMEM, MDB_TXN_FULL, EIO};
	enum fault_kind k = (enum fault_kind)rnd(FAULT_COMMON_N);

	if (rnd(6))
		return;
	int code = k == FAULT_PUT || k == FAULT_COMMIT ? codes[rnd(5)] : errors[rnd(2)];
	fault_arm(k, code, 1 + rnd(k == FAULT_PUT ? 12 : 4), 1 + rnd(3));
}

static bool run(struct op *op, unsigned kind)
{
	fault_maybe();
	int status = harness_write(&h, op, kind);
	fault_disarm();
	hints_drop();
	if (status == 0)
		ok_ops++;
	else
		failed_ops++;
	return status == 0;
}

/* An answer that cannot be right whatever fails below. */
static bool is_trouble(const struct op *op)
{
	return op->status == -EIO || op->status == -ENOSPC;
}

/* ---- ops ---- */

static struct model_box *some_box(uint32_t *account, uint32_t *name)
{
	*account = rnd(ACCOUNTS);
	*name = rnd(BOX_NAMES);
	return &model.box[*account][*name];
}

static void row_add(struct model_box *b, uint64_t blob, size_t bytes, uint32_t flags)
{
	BUG_ON(b->n == ROWS_MAX);
	b->rows[b->n++] = (struct model_row){b->uidnext++, flags, blob, bytes};
}

/* Sends the whole chunks of the body as parts, now and then; false: refused. */
static bool stream_some(struct message *m)
{
	while (m->body.head && m->body.head->n == CHUNK_DATA && rnd(3)) {
		struct part_op p = {.blob = m->id, .first = m->streamed_chunks};
		chain_push(&p.chunks, chain_pop(&m->body));
		m->streamed += CHUNK_DATA;
		m->streamed_chunks++;
		if (!run(&p.op, HANDOFF_PART))
			return false;
	}
	return true;
}

static void model_accept(const struct message *m, size_t bytes)
{
	struct model_message q = {.id = m->id, .bytes = bytes};
	bool remote = false, local[ACCOUNTS] = {false};

	for (uint32_t i = 0; i < m->rcpt_count; i++) {
		const struct rcpt *r = message_rcpt(m, i);
		if (r->route == RCPT_REMOTE)
			remote = q.pending[i] = true;
		q.two[i] = bytes_eq(message_rcpt_address(m, r), bytes_str(remotes[1]));
		for (int a = 0; r->route == RCPT_LOCAL && a < ACCOUNTS; a++)
			local[a] |= model.account[a] == r->account;
	}
	for (int a = 0; a < ACCOUNTS; a++) {
		if (local[a])
			row_add(&model.box[a][0], m->id, bytes, 0);
	}
	if (remote)
		model.queue[model.queue_n++] = q;
}

static struct message *some_message(size_t *bytes_r)
{
	const char *rcpts[RCPTS_MAX + 1] = {NULL};
	uint32_t n = 1 + rnd(RCPTS_MAX);

	for (uint32_t i = 0; i < n; i++)
		rcpts[i] = rnd(2) ? remotes[rnd(2)] : addresses[rnd(ACCOUNTS)];
	*bytes_r = rnd(8) ? rnd(9000) : rnd(BODY_MAX);
	/* Now and then one comes late, behind others with higher ids. */
	uint64_t next = h.next_id;
	bool late = late_n && rnd(6) == 0;
	if (!late && late_n < LATE_MAX && rnd(6) == 0)
		late_ids[late_n++] = next++;
	h.next_id = late ? late_ids[--late_n] : next;
	struct message *m = harness_message(&h, *bytes_r, rcpts);
	h.next_id = late ? next : next + 1;
	return m;
}

static void step_accept(void)
{
	size_t bytes;

	if (model.queue_n == QUEUE_MAX || model.box[0][0].n == ROWS_MAX ||
		model.box[1][0].n == ROWS_MAX || model.box[2][0].n == ROWS_MAX)
		return;
	struct message *m = some_message(&bytes);
	struct accept_op a = {.message = m};
	bool whole = stream_some(m);
	bool ok = run(&a.op, HANDOFF_ACCEPT);
	EXPECT(!ok || whole);
	EXPECT(a.refused == 0);
	if (ok)
		model_accept(m, bytes);
	else if (rnd(2)) {
		struct drop_op d = {.blob = m->id};
		run(&d.op, HANDOFF_DROP);
	}
	message_unref(m);
}

static void queue_remove(unsigned i)
{
	model.queue[i] = model.queue[--model.queue_n];
}

static bool all_done(const struct model_message *q)
{
	for (int i = 0; i < RCPTS_MAX; i++) {
		if (q->pending[i])
			return false;
	}
	return true;
}

static void step_result(void)
{
	if (model.queue_n == 0)
		return;
	unsigned i = rnd(model.queue_n);
	struct model_message *q = &model.queue[i], after = *q;
	struct rcpt_result res[RCPTS_MAX];
	struct results_op r = {.id = q->id, .results = res};

	for (uint32_t n = 0; n < RCPTS_MAX; n++) {
		bool deferred = rnd(3) == 0;
		if (!q->pending[n] || rnd(3) == 0)
			continue;
		res[r.count++] = (struct rcpt_result){.rcpt = n,
			.outcome = deferred ? ATTEMPT_DEFERRED : ATTEMPT_DELIVERED,
			.next_ms = clock_wall_ms() + rnd(100000)};
		after.pending[n] = deferred;
	}
	size_t bounce_bytes = 0;
	struct message *bounce = NULL;
	if (rnd(4) == 0 && model.box[0][0].n < ROWS_MAX && model.box[1][0].n < ROWS_MAX &&
		model.box[2][0].n < ROWS_MAX && model.queue_n < QUEUE_MAX) {
		bounce = r.bounce = some_message(&bounce_bytes);
		message_ref(bounce);
	}
	bool ok = run(&r.op, STORE_RESULT);
	EXPECT(ok || is_trouble(&r.op));
	EXPECT(r.bounce == NULL);
	if (ok) {
		*q = after;
		if (all_done(q))
			queue_remove(i);
		if (bounce)
			model_accept(bounce, bounce_bytes);
	}
	if (bounce)
		message_unref(bounce);
}

static void step_admin(void)
{
	if (model.queue_n == 0)
		return;
	unsigned i = rnd(model.queue_n);
	struct queue_admin_op op = {.id = model.queue[i].id, .action = (uint8_t)rnd(4)};
	bool ok = run(&op.op, STORE_QUEUE_ADMIN);

	EXPECT(ok || is_trouble(&op.op));
	if (ok && op.action == QUEUE_DELETE)
		queue_remove(i);
}

static void step_append(void)
{
	uint32_t a, name;
	struct model_box *b = some_box(&a, &name);
	size_t bytes = rnd(10000);

	if (b->n == ROWS_MAX)
		return;
	struct message *m = harness_message(&h, bytes, (const char *[]){NULL});
	struct append_op op = {.account = model.account[a],
		.target = bytes_str(box_names[name]),
		.message = m,
		.flags = rnd(32)};
	bool ok = run(&op.op, STORE_APPEND);
	if (ok) {
		EXPECT(b->exists && op.uid == b->uidnext);
		row_add(b, m->id, bytes, op.flags);
	} else {
		EXPECT(is_trouble(&op.op) || (op.op.status == -ENOENT && !b->exists));
	}
	message_unref(m);
}

/* Some UIDs of a box, ascending, some of them not there. */
static uint32_t some_uids(const struct model_box *b, uint32_t *uids, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t uid = 1 + rnd(3); uid < b->uidnext + 2 && n < max; uid += 1 + rnd(5))
		uids[n++] = uid;
	return n;
}

static struct model_row *row_of(struct model_box *b, uint32_t uid)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (b->rows[i].uid == uid)
			return &b->rows[i];
	}
	return NULL;
}

static void model_flags(struct model_box *b, const struct mbox_op *op)
{
	for (uint32_t i = 0; i < op->uid_count; i++) {
		struct model_row *r = row_of(b, op->uids[i]);
		if (r)
			r->flags = op->mode == FLAGS_ADD      ? r->flags | op->flags
				   : op->mode == FLAGS_REMOVE ? r->flags & ~op->flags
							      : op->flags;
	}
}

static void model_expunge(struct model_box *b, const struct mbox_op *op)
{
	for (uint32_t i = 0; i < op->uid_count; i++) {
		struct model_row *r = row_of(b, op->uids[i]);
		if (!r)
			continue;
		memmove(r, r + 1, (size_t)(b->rows + b->n - (r + 1)) * sizeof(*r));
		b->n--;
	}
}

static void model_copy(struct model_box *from, struct model_box *to, const struct mbox_op *op)
{
	for (uint32_t i = 0; i < op->uid_count; i++) {
		struct model_row *r = row_of(from, op->uids[i]);
		if (r)
			row_add(to, r->blob, r->bytes, r->flags);
	}
}

static void step_rows(void)
{
	uint32_t a, name, uids[40];
	struct model_box *b = some_box(&a, &name), *to;

	if (!b->exists)
		return;
	uint32_t target = rnd(BOX_NAMES);
	to = &model.box[a][target];
	struct mbox_op op = {.account = model.account[a],
		.box = harness_box(&h, model.account[a], box_names[name]).box,
		.uids = uids,
		.uid_count = some_uids(b, uids, 40),
		.mode = (uint8_t)rnd(3),
		.flags = rnd(32),
		.target = bytes_str(box_names[target])};
	switch (rnd(4)) {
	case 0:
		if (run(&op.op, STORE_FLAGS))
			model_flags(b, &op);
		else
			EXPECT(is_trouble(&op.op));
		break;
	case 1:
		if (to->n + 40 > ROWS_MAX)
			break;
		if (run(&op.op, STORE_COPY))
			model_copy(b, to, &op);
		else
			EXPECT(is_trouble(&op.op) || (op.op.status == -ENOENT && !to->exists));
		break;
	case 2:
		if (to->n + 40 > ROWS_MAX)
			break;
		if (run(&op.op, STORE_TRANSFER)) {
			model_copy(b, to, &op);
			model_expunge(b, &op);
		} else {
			EXPECT(is_trouble(&op.op) || (op.op.status == -ENOENT && !to->exists));
		}
		break;
	default:
		if (run(&op.op, STORE_EXPUNGE))
			model_expunge(b, &op);
		else
			EXPECT(is_trouble(&op.op));
	}
}

static void step_box(void)
{
	uint32_t a, name;
	struct model_box *b = some_box(&a, &name);
	struct mbox_name_op op = {.account = model.account[a], .name = bytes_str(box_names[name])};

	if (rnd(3)) {
		bool ok = run(&op.op, STORE_MBOX_CREATE);
		EXPECT(ok ? !b->exists : is_trouble(&op.op) || b->exists);
		if (ok)
			*b = (struct model_box){.exists = true, .uidnext = 1};
		return;
	}
	bool ok = run(&op.op, STORE_MBOX_DELETE);
	EXPECT(ok ? b->exists && name != 0 : is_trouble(&op.op) || !b->exists || name == 0);
	if (ok)
		*b = (struct model_box){0};
}

static void step_rename(void)
{
	uint32_t a, name, to = 3 + rnd(2);
	struct model_box *b = some_box(&a, &name), *t = &model.box[a][to];
	struct mbox_name_op op = {.account = model.account[a],
		.name = bytes_str(box_names[name]),
		.new_name = bytes_str(box_names[to])};

	/* "a" would take "a/b" along to a name that the model does not know. */
	if (name == 1 || name == to)
		return;
	bool ok = run(&op.op, STORE_MBOX_RENAME);
	EXPECT(ok ? b->exists && !t->exists : is_trouble(&op.op) || !b->exists || t->exists);
	if (!ok)
		return;
	*t = *b;
	*b = (struct model_box){.exists = name == 0, .uidnext = 1};
}

static void restart(void)
{
	fault_disarm();
	restarts++;
	harness_close(&h);
	harness_open(&h);
}

/* ---- are they equal? ---- */

static void check_box(uint32_t a, uint32_t name)
{
	static struct mbox_row rows[ROWS_MAX + 1];
	const struct model_box *b = &model.box[a][name];
	struct mbox_read_op op = {.account = model.account[a], .name = bytes_str(box_names[name])};
	int status = harness_read(&h, &op.op, STORE_READ_MBOX_OPEN);
	uint32_t unseen = 0, deleted = 0;

	EXPECT(status == (b->exists ? 0 : -ENOENT));
	if (status)
		return;
	EXPECT(harness_rows(&h, model.account[a], op.box, 0, rows, ROWS_MAX + 1) == b->n);
	for (unsigned i = 0; i < b->n; i++) {
		EXPECT(rows[i].uid == b->rows[i].uid && rows[i].blob == b->rows[i].blob);
		EXPECT(rows[i].flags == b->rows[i].flags);
		unseen += !(rows[i].flags & MSG_SEEN);
		deleted += !!(rows[i].flags & MSG_DELETED);
	}
	EXPECT(op.state.exists == b->n && op.state.uidnext == b->uidnext);
	EXPECT(op.state.unseen == unseen && op.state.deleted == deleted);
	/* Everything changed since the beginning of time is everything. */
	EXPECT(harness_rows(&h, model.account[a], op.box, 1, rows, ROWS_MAX + 1) == b->n);
	if (b->n) {
		const struct model_row *r = &b->rows[rnd(b->n)];
		EXPECT(harness_body_is(
			&h, r->blob, r->bytes, "Return-Path: <>\r\nReceived: here\r\n", false));
	}
}

static unsigned check_message(const struct model_message *q)
{
	struct queue_read_op op = {.id = q->id};
	unsigned n = 0;

	EXPECT(harness_read(&h, &op.op, STORE_READ_QUEUE) == 0);
	for (uint32_t i = 0; i < RCPTS_MAX; i++)
		n += q->pending[i];
	EXPECT(op.message->rcpt_count == n && op.body_bytes == q->bytes);
	for (const struct chunk *c = op.rows.head; c; c = c->next) {
		for (uint32_t at = 0; at < c->n; at += sizeof(struct queue_rcpt_row)) {
			struct queue_rcpt_row row;
			memcpy(&row, c->data + at, sizeof(row));
			EXPECT(row.rcpt < RCPTS_MAX && q->pending[row.rcpt]);
		}
	}
	message_unref(op.message);
	chain_free(&op.rows);
	EXPECT(rnd(4) || harness_body_is(&h, q->id, q->bytes, "Received: here\r\n", true));
	return n;
}

static unsigned schedule_count(void)
{
	struct schedule_read_op op = {.max_rows = 1000};
	unsigned n = 0;

	while (!op.end) {
		struct chunk *c;
		EXPECT(harness_read(&h, &op.op, STORE_READ_SCHEDULE) == 0);
		while ((c = chain_pop(&op.out))) {
			for (uint32_t at = 0; at < c->n; n++) {
				struct schedule_row row;
				memcpy(&row, c->data + at, sizeof(row));
				at += (uint32_t)((sizeof(row) + row.domain_n + 7) & ~7ull);
			}
			chunk_put(c);
		}
	}
	return n;
}

/* Messages that the list by filter has; each must be there once. */
static unsigned listed(const struct queue_filter *f)
{
	struct queue_list_op op = {.filter = f, .max_messages = 1 + rnd(7)};
	static char text[1 << 18];
	size_t n = 0;
	unsigned lines = 0;

	while (!op.end) {
		EXPECT(harness_read(&h, &op.op, STORE_READ_QUEUE_LIST) == 0);
		n += chain_read(&op.out, 0, text + n, sizeof(text) - 1 - n);
		chain_free(&op.out);
	}
	text[n] = '\0';
	for (unsigned i = 0; i < model.queue_n; i++) {
		char id[32];
		snprintf(id, sizeof(id), "\"id\":\"%016llx\"",
			(unsigned long long)model.queue[i].id);
		const char *at = strstr(text, id);
		EXPECT(!at || !strstr(at + 1, id));
		lines += at != NULL;
	}
	return lines;
}

/* The queue by its index, and without. */
static void check_filters(void)
{
	static const struct queue_filter any,
		sender = {.sender = "from@example.net"}, nobody = {.sender = "nobody@example.net"},
		domain[] = {{.domain = "one.example.net"}, {.domain = "two.example.net"}},
		address[] = {
			{.recipient = "x@one.example.net"}, {.recipient = "y@two.example.net"}};
	unsigned want[2] = {0};

	for (unsigned i = 0; i < model.queue_n; i++) {
		const struct model_message *q = &model.queue[i];
		bool has[2] = {false};
		for (uint32_t r = 0; r < RCPTS_MAX; r++) {
			if (q->pending[r])
				has[q->two[r]] = true;
		}
		want[0] += has[0];
		want[1] += has[1];
	}
	EXPECT(listed(&any) == model.queue_n && listed(&sender) == model.queue_n);
	EXPECT(listed(&nobody) == 0);
	for (int i = 0; i < 2; i++)
		EXPECT(listed(&domain[i]) == want[i] && listed(&address[i]) == want[i]);
}

static void check_store(void)
{
	struct store_check_op op = {.check = NULL};
	char text[2000];

	while (!op.end) {
		EXPECT(harness_read(&h, &op.op, STORE_READ_CHECK) == 0);
		text[chain_read(&op.out, 0, text, sizeof(text) - 1)] = '\0';
		if (op.problems)
			fprintf(stderr, "%s", text);
		chain_free(&op.out);
	}
	EXPECT(op.problems == 0);
}

static void check(void)
{
	struct store_info info;
	unsigned recipients = 0;

	for (uint32_t a = 0; a < ACCOUNTS; a++) {
		for (uint32_t name = 0; name < BOX_NAMES; name++)
			check_box(a, name);
	}
	for (unsigned i = 0; i < model.queue_n; i++)
		recipients += check_message(&model.queue[i]);
	EXPECT(schedule_count() == recipients);
	store_get_info(h.store, &info);
	EXPECT(info.queued_messages == model.queue_n && info.queued_recipients == recipients);
	EXPECT(harness_nothing_leaked(&h));
	check_filters();
	if (rnd(4) == 0)
		check_store();
}

static enum store_health health(void)
{
	struct store_info info;

	store_get_info(h.store, &info);
	return info.health;
}

static void one_step(void)
{
	static void (*const steps[])(void) = {step_accept, step_accept, step_accept, step_result,
		step_result, step_admin, step_append, step_rows, step_rows, step_rows, step_box,
		step_rename};

	steps[rnd(ARRAY_LEN(steps))]();
	/* A failed or full shard comes back by itself within a second; a restart is faster. */
	if (health() != STORE_OK || rnd(40) == 0)
		restart();
	if (step % CHECK_EVERY == 0)
		check();
}

static void one_run(unsigned steps)
{
	random_state = seed * 0x9e3779b97f4a7c15ull + 1;
	memset(&model, 0, sizeof(model));
	late_n = 0;
	harness_init(&h);
	h.conf.index_rows = 1 + rnd(64);
	harness_open(&h);
	for (int a = 0; a < ACCOUNTS; a++) {
		model.account[a] = harness_account(&h, addresses[a]);
		model.box[a][0] = (struct model_box){.exists = true, .uidnext = 1};
	}
	for (step = 1; step <= steps; step++)
		one_step();
	restart();
	check();
	harness_close(&h);
	harness_fini(&h);
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
	uint64_t first = env_number("BYPOST_SEED", 1);
	uint64_t runs = env_number("BYPOST_RUNS", getenv("BYPOST_SEED") ? 1 : RUNS);

	for (seed = first; seed < first + runs; seed++)
		one_run((unsigned)env_number("BYPOST_STEPS", STEPS));
	printf("%u ops done, %u failed, %u errors injected, %u restarts\n", ok_ops, failed_ops,
		fault_hits(), restarts);
	EXPECT(fault_hits() > 0);
	return 0;
}
