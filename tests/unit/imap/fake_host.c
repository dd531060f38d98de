/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/imap/fake_host.h"
#include <errno.h>
#include <string.h>

#define FAKE_ACCOUNT 7

/* ---- the store ---- */

static struct fake_box *box_find(struct fake *f, struct bytes name)
{
	for (unsigned i = 0; i < FAKE_BOXES; i++) {
		struct fake_box *b = &f->boxes[i];
		struct bytes have = bytes_str(b->name);
		if (b->used && (bytes_eq(have, name) || (bytes_ieq(name, BYTES_LIT("INBOX")) &&
								bytes_ieq(have, name))))
			return b;
	}
	return NULL;
}

static struct fake_box *box_at(struct fake *f, uint32_t box)
{
	return box >= 1 && box <= FAKE_BOXES && f->boxes[box - 1].used ? &f->boxes[box - 1] : NULL;
}

struct fake_box *fake_box_add(struct fake *f, const char *name)
{
	for (uint32_t i = 0; i < FAKE_BOXES; i++) {
		struct fake_box *b = &f->boxes[i];
		if (b->used)
			continue;
		memset(b, 0, sizeof(*b));
		b->used = true;
		snprintf(b->name, sizeof(b->name), "%s", name);
		b->state = (struct mbox_state){.box = i + 1, .uidvalidity = 1000 + i, .uidnext = 1};
		return b;
	}
	return NULL;
}

static void box_count(struct fake_box *b)
{
	b->state.exists = b->count;
	b->state.unseen = b->state.deleted = 0;
	b->state.bytes = 0;
	for (uint32_t i = 0; i < b->count; i++) {
		b->state.unseen += !(b->messages[i].row.flags & MSG_SEEN);
		b->state.bytes += b->messages[i].row.size;
	}
}

void fake_message_add(
	struct fake *f, struct fake_box *b, const char *text, size_t n, uint32_t flags)
{
	struct fake_message *m = &b->messages[b->count++];

	BUG_ON(b->count > FAKE_MESSAGES);
	*m = (struct fake_message){.data = malloc(n ? n : 1), .n = n};
	memcpy(m->data, text, n);
	m->row = (struct mbox_row){.uid = b->state.uidnext++,
		.flags = flags,
		.blob = ++f->ids << 8,
		.modseq = ++f->modseq,
		.size = n,
		.internal_ms = 1700000000000ull + b->count * 86400000ull};
	b->state.highestmodseq = f->modseq;
	box_count(b);
}

static const struct fake_message *blob_find(struct fake *f, uint64_t blob)
{
	for (unsigned i = 0; i < FAKE_BOXES; i++) {
		for (uint32_t k = 0; f->boxes[i].used && k < f->boxes[i].count; k++) {
			if (f->boxes[i].messages[k].row.blob == blob)
				return &f->boxes[i].messages[k];
		}
	}
	return NULL;
}

static int put(struct chain *c, const void *p, size_t n)
{
	return chain_append(c, bytes_make(p, n));
}

static int read_body(struct fake *f, struct body_read_op *op)
{
	const struct fake_message *m = blob_find(f, op->blob);

	if (!m)
		return -ENOENT;
	size_t n = op->offset < m->n ? m->n - op->offset : 0;
	n = MIN(n, op->max);
	if (f->slice_octets)
		n = MIN(n, f->slice_octets);
	op->total = m->n;
	return n ? put(&op->out, m->data + op->offset, n) : 0;
}

static int read_open(struct fake *f, struct mbox_read_op *op)
{
	struct fake_box *b = box_find(f, op->name);
	int err = 0;

	if (!b)
		return -ENOENT;
	op->box = b->state.box;
	op->state = b->state;
	for (unsigned i = 0; i < MBOX_KEYWORDS_MAX && b->keywords[i][0] && !err; i++)
		err = put(&op->out, b->keywords[i], strlen(b->keywords[i]) + 1);
	return err;
}

/* Records must not straddle chunks: whole chunks hold a multiple of them only by luck. */
static int put_row(struct chain *c, const struct mbox_row *row)
{
	if (!c->tail || CHUNK_DATA - c->tail->n < sizeof(*row)) {
		struct chunk *k = chunk_get();
		if (!k)
			return -ENOBUFS;
		chain_push(c, k);
	}
	return put(c, row, sizeof(*row));
}

static int read_rows(struct fake *f, struct mbox_read_op *op)
{
	struct fake_box *b = box_at(f, op->box);
	uint32_t max = f->slice_rows ? MIN(f->slice_rows, op->max_rows) : op->max_rows, n = 0;

	if (!b)
		return -ENOENT;
	op->state = b->state;
	op->end = true;
	for (uint32_t i = 0; i < b->count; i++) {
		const struct mbox_row *row = &b->messages[i].row;
		if (row->uid < op->from_uid || row->modseq <= op->since_modseq)
			continue;
		if (n++ == max) {
			op->from_uid = row->uid;
			op->end = false;
			break;
		}
		int err = put_row(&op->out, row);
		if (err)
			return err;
	}
	return 0;
}

static int read_list(struct fake *f, struct mbox_list_op *op)
{
	struct bytes last = op->from;
	char best[MBOX_NAME_MAX + 1];

	for (;;) {
		struct fake_box *next = NULL;
		for (unsigned i = 0; i < FAKE_BOXES; i++) {
			struct fake_box *b = &f->boxes[i];
			snprintf(best, sizeof(best), "%.*s", (int)last.n, (const char *)last.p);
			if (b->used && strcmp(b->name, last.n ? best : "") > 0 &&
				(!next || strcmp(b->name, next->name) < 0))
				next = b;
		}
		if (!next)
			break;
		uint16_t n = (uint16_t)strlen(next->name);
		uint8_t record[4 + MBOX_NAME_MAX + 4] = {0};
		memcpy(record, &n, 2);
		record[2] = next->subscribed;
		record[3] = next->state.special;
		memcpy(record + 4, next->name, n);
		if (put(&op->out, record, (4u + n + 3u) & ~3u) < 0)
			return -ENOBUFS;
		last = bytes_str(next->name);
	}
	op->end = true;
	return 0;
}

static uint32_t keyword_bit(struct fake_box *b, const char *name)
{
	for (unsigned i = 0; i < MBOX_KEYWORDS_MAX; i++) {
		if (!b->keywords[i][0])
			snprintf(b->keywords[i], sizeof(b->keywords[i]), "%s", name);
		if (strcasecmp(b->keywords[i], name) == 0)
			return 1u << i;
	}
	return 0;
}

static uint32_t keyword_bits(struct fake_box *b, struct chain *c)
{
	char text[CHUNK_DATA + 1];
	size_t n = chain_read(c, 0, text, CHUNK_DATA);
	uint32_t bits = 0;

	text[n] = 0;
	for (size_t at = 0; at < n; at += strlen(text + at) + 1)
		bits |= keyword_bit(b, text + at);
	chain_free(c);
	return bits;
}

static void row_change(struct fake *f, struct mbox_row *r, const struct mbox_op *op, uint32_t bits)
{
	if (op->mode == FLAGS_REPLACE)
		r->flags = op->flags, r->keywords = bits;
	else if (op->mode == FLAGS_ADD)
		r->flags |= op->flags, r->keywords |= bits;
	else
		r->flags &= ~op->flags, r->keywords &= ~bits;
	r->modseq = f->modseq;
}

static bool named(const struct mbox_op *op, uint32_t uid)
{
	for (uint32_t i = 0; i < op->uid_count; i++) {
		if (op->uids[i] == uid)
			return true;
	}
	return false;
}

static int write_flags(struct fake *f, struct mbox_op *op)
{
	struct fake_box *b = box_at(f, op->box);

	if (!b)
		return -ENOENT;
	uint32_t bits = keyword_bits(b, &op->keywords);
	op->modseq = b->state.highestmodseq = ++f->modseq;
	for (uint32_t i = 0; i < b->count; i++) {
		if (!named(op, b->messages[i].row.uid))
			continue;
		row_change(f, &b->messages[i].row, op, bits);
		op->changed++;
	}
	box_count(b);
	return 0;
}

static int write_copy(struct fake *f, struct mbox_op *op)
{
	struct fake_box *from = box_at(f, op->box), *to = box_find(f, op->target);

	if (!to || !from)
		return -ENOENT;
	op->target_uidvalidity = to->state.uidvalidity;
	op->target_first_uid = to->state.uidnext;
	for (uint32_t i = 0, n = from->count; i < n; i++) {
		const struct fake_message *m = &from->messages[i];
		if (!named(op, m->row.uid))
			continue;
		fake_message_add(f, to, (const char *)m->data, m->n, m->row.flags);
		op->changed++;
	}
	return 0;
}

static int write_expunge(struct fake *f, struct mbox_op *op)
{
	struct fake_box *b = box_at(f, op->box);
	uint32_t n = 0;

	if (!b)
		return -ENOENT;
	for (uint32_t i = 0; i < b->count; i++) {
		if (named(op, b->messages[i].row.uid)) {
			free(b->messages[i].data);
			free(b->messages[i].shape);
			op->changed++;
		} else {
			b->messages[n++] = b->messages[i];
		}
	}
	b->count = n;
	b->state.highestmodseq = ++f->modseq;
	box_count(b);
	return 0;
}

static int write_transfer(struct fake *f, struct mbox_op *op)
{
	int rc = write_copy(f, op);

	op->changed = 0;
	return rc ? rc : write_expunge(f, op);
}

static int write_shape(struct fake *f, struct shape_op *op)
{
	struct shape_head h;

	for (uint64_t at = 0; at < op->data.bytes; at += h.octets) {
		BUG_ON(chain_read(&op->data, at, &h, sizeof(h)) != sizeof(h));
		BUG_ON(h.octets == 0 || h.octets > SHAPE_MAX);
		at += sizeof(h);
		struct fake_message *m = (struct fake_message *)(uintptr_t)blob_find(f, h.blob);
		if (!m || (m->shape_n && !h.replace))
			continue;
		m->shape = realloc(m->shape, h.octets);
		m->shape_n = h.octets;
		BUG_ON(chain_read(&op->data, at, m->shape, h.octets) != h.octets);
		f->shapes_made++;
	}
	chain_free(&op->data);
	return 0;
}

static int read_shape(struct fake *f, struct shape_read_op *op)
{
	const struct fake_message *m = blob_find(f, op->blob);

	if (!m || m->shape_n == 0)
		return -ENOENT;
	f->shapes_read++;
	return put(&op->out, m->shape, m->shape_n);
}

static int write_append(struct fake *f, struct append_op *op)
{
	struct fake_box *b = box_find(f, op->target);
	struct message *m = op->message;

	if (!b) {
		chain_free(&op->keywords);
		return -ENOENT;
	}
	size_t n = f->parts_bytes + m->body.bytes;
	char *text = malloc(n + 1);
	if (f->parts_bytes)
		memcpy(text, f->parts, f->parts_bytes);
	chain_read(&m->body, 0, text + f->parts_bytes, m->body.bytes);
	BUG_ON(m->streamed != f->parts_bytes);
	op->uidvalidity = b->state.uidvalidity;
	op->uid = b->state.uidnext;
	fake_message_add(f, b, text, n, op->flags);
	struct mbox_row *r = &b->messages[b->count - 1].row;
	r->keywords = keyword_bits(b, &op->keywords);
	r->internal_ms = op->internal_ms;
	r->internal_zone_min = op->internal_zone_min;
	f->parts_bytes = 0;
	free(text);
	return 0;
}

static int write_part(struct fake *f, struct part_op *op)
{
	size_t n = op->chunks.bytes;

	for (const struct chunk *c = op->chunks.head; c; c = c->next)
		BUG_ON(c->n != CHUNK_DATA);
	BUG_ON((size_t)op->first * CHUNK_DATA != f->parts_bytes);
	f->parts = realloc(f->parts, f->parts_bytes + n);
	chain_read(&op->chunks, 0, f->parts + f->parts_bytes, n);
	f->parts_bytes += n;
	f->parts_blob = op->blob;
	chain_free(&op->chunks);
	return 0;
}

static int create(struct fake *f, struct fake_box *b, const char *name, uint8_t special)
{
	if (b)
		return -EEXIST;
	for (unsigned i = 0; special && i < FAKE_BOXES; i++) {
		if (f->boxes[i].used && f->boxes[i].state.special == special)
			return -EBUSY;
	}
	b = fake_box_add(f, name);
	if (b)
		b->state.special = special;
	return b ? 0 : -ENOSPC;
}

static int write_name(struct fake *f, struct mbox_name_op *op)
{
	struct fake_box *b = box_find(f, op->name);
	char name[MBOX_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%.*s", (int)op->name.n, (const char *)op->name.p);
	switch (op->op.kind) {
	case STORE_MBOX_CREATE:
		return create(f, b, name, op->special);
	case STORE_MBOX_DELETE:
		if (b)
			b->used = false;
		return b ? 0 : -ENOENT;
	case STORE_MBOX_RENAME:
		if (!b || box_find(f, op->new_name))
			return b ? -EEXIST : -ENOENT;
		snprintf(b->name, sizeof(b->name), "%.*s", (int)op->new_name.n,
			(const char *)op->new_name.p);
		return 0;
	default:
		if (b)
			b->subscribed = op->subscribe;
		return b ? 0 : -ENOENT;
	}
}

static int answer_write(struct fake *f, struct op *op)
{
	switch (op->kind) {
	case HANDOFF_PART:
		return write_part(f, container_of(op, struct part_op, op));
	case HANDOFF_DROP:
		f->parts_bytes = 0;
		f->drops++;
		return 0;
	case STORE_APPEND:
		return write_append(f, container_of(op, struct append_op, op));
	case STORE_FLAGS:
		return write_flags(f, container_of(op, struct mbox_op, op));
	case STORE_COPY:
		return write_copy(f, container_of(op, struct mbox_op, op));
	case STORE_TRANSFER:
		return write_transfer(f, container_of(op, struct mbox_op, op));
	case STORE_SHAPE:
		return write_shape(f, container_of(op, struct shape_op, op));
	case STORE_EXPUNGE:
		return write_expunge(f, container_of(op, struct mbox_op, op));
	case STORE_MBOX_CREATE:
	case STORE_MBOX_DELETE:
	case STORE_MBOX_RENAME:
	case STORE_MBOX_SUBSCRIBE:
		return write_name(f, container_of(op, struct mbox_name_op, op));
	default:
		return -EINVAL;
	}
}

static int read_quota(struct fake *f, struct quota_read_op *op)
{
	op->bytes_max = f->quota_bytes;
	op->messages_max = f->quota_messages;
	for (unsigned i = 0; i < FAKE_BOXES; i++) {
		op->bytes += f->boxes[i].used ? f->boxes[i].state.bytes : 0;
		op->messages += f->boxes[i].used ? f->boxes[i].count : 0;
	}
	return 0;
}

static int answer_read(struct fake *f, struct op *op)
{
	switch (op->kind) {
	case STORE_READ_BODY:
		return read_body(f, container_of(op, struct body_read_op, op));
	case STORE_READ_MBOX_OPEN:
		return read_open(f, container_of(op, struct mbox_read_op, op));
	case STORE_READ_MBOX_ROWS:
		return read_rows(f, container_of(op, struct mbox_read_op, op));
	case STORE_READ_MBOX_LIST:
		return read_list(f, container_of(op, struct mbox_list_op, op));
	case STORE_READ_SHAPE:
		return read_shape(f, container_of(op, struct shape_read_op, op));
	case STORE_READ_QUOTA:
		return read_quota(f, container_of(op, struct quota_read_op, op));
	default:
		return -EINVAL;
	}
}

void fake_answer(struct fake *f)
{
	struct op *op = f->pending;

	f->pending = NULL;
	f->ops++;
	if (f->fail_status && (!f->fail_kind || (f->fail_kind == op->kind &&
							f->fail_write == f->pending_write))) {
		op->status = f->fail_status;
		/* What the writer was given it keeps or frees, also when it fails. */
		if (f->pending_write && op->kind == HANDOFF_PART)
			chain_free(&container_of(op, struct part_op, op)->chunks);
		if (f->pending_write && op->kind == STORE_SHAPE)
			chain_free(&container_of(op, struct shape_op, op)->data);
		if (f->pending_write && op->kind == STORE_FLAGS)
			chain_free(&container_of(op, struct mbox_op, op)->keywords);
		f->fail_status = 0;
	} else {
		op->status = f->pending_write ? answer_write(f, op) : answer_read(f, op);
	}
	op->done(op);
}

/* ---- the host ---- */

static void host_submit(void *ctx, enum access_server_kind to, uint32_t account, struct op *op)
{
	struct fake *f = ctx;

	BUG_ON(f->pending || account != FAKE_ACCOUNT);
	f->pending = op;
	f->pending_write = to == ACCESS_WRITER;
}

static void host_login(void *ctx, struct bytes user, struct bytes password)
{
	struct fake *f = ctx;

	f->login_pending = true;
	f->engine->busy = true;
	f->login_right = bytes_ieq(user, BYTES_LIT("user1@example.org")) &&
			 bytes_eq(password, BYTES_LIT("secret word"));
}

static void host_timer(void *ctx, uint64_t delay_us)
{
	struct fake *f = ctx;

	f->timer_pending = true;
	f->timer_us = delay_us;
}

static void host_again(void *ctx)
{
	((struct fake *)ctx)->again = true;
}

static void host_ready(void *ctx)
{
	((struct fake *)ctx)->ready = true;
}

static void host_watch(void *ctx, uint32_t account, uint32_t box)
{
	((struct fake *)ctx)->watched_box = account ? box : 0;
}

static bool host_lock(void *ctx, uint32_t account)
{
	struct fake *f = ctx;

	(void)account;
	f->locked = !f->lock_refused;
	return f->locked;
}

static void host_unlock(void *ctx)
{
	((struct fake *)ctx)->locked = false;
}

static const size_t space_bytes[ACCESS_SPACE_N] = {
	[ACCESS_SPACE_COMMAND] = ACCESS_COMMAND_BYTES,
	[ACCESS_SPACE_UIDS] = ACCESS_UIDS_MAX * sizeof(uint32_t),
	[ACCESS_SPACE_SCAN] = ACCESS_SCAN_BYTES,
};

static void *host_space_get(void *ctx, enum access_space kind)
{
	((struct fake *)ctx)->spaces_out++;
	return malloc(space_bytes[kind]);
}

static void host_space_put(void *ctx, enum access_space kind, void *space)
{
	(void)kind;
	((struct fake *)ctx)->spaces_out--;
	free(space);
}

static bool host_may_grow(void *ctx, enum access_use use)
{
	(void)use;
	return !((struct fake *)ctx)->scarce;
}

static uint64_t host_now_ms(void *ctx)
{
	(void)ctx;
	return 1750000000000ull;
}

static uint64_t host_new_id(void *ctx)
{
	return ++((struct fake *)ctx)->ids << 8;
}

static const struct access_host_ops fake_ops = {
	.submit = host_submit,
	.login = host_login,
	.timer = host_timer,
	.again = host_again,
	.ready = host_ready,
	.watch = host_watch,
	.lock = host_lock,
	.unlock = host_unlock,
	.space_get = host_space_get,
	.space_put = host_space_put,
	.may_grow = host_may_grow,
	.now_ms = host_now_ms,
	.new_id = host_new_id,
};

static bool drain(struct fake *f)
{
	struct access_out *o = &f->engine->out;
	bool some = false;

	if (f->stuck)
		return false;
	for (struct bytes b = access_out_peek(o); b.n; b = access_out_peek(o)) {
		BUG_ON(f->out_n + b.n >= FAKE_OUTPUT);
		memcpy(f->out + f->out_n, b.p, b.n);
		f->out_n += b.n;
		access_out_consume(o, b.n);
		some = true;
	}
	f->out[f->out_n] = 0;
	return some;
}

static bool answer_login(struct fake *f)
{
	enum login_result r = f->login_right ? LOGIN_OK : LOGIN_WRONG;

	if (!f->login_pending)
		return false;
	f->login_pending = false;
	f->engine->busy = false;
	f->engine->ops->login_done(f->engine, f->login_force ? f->login_force : r, FAKE_ACCOUNT);
	return true;
}

static bool answer_timer(struct fake *f)
{
	if (!f->timer_pending)
		return false;
	f->timer_pending = false;
	f->engine->ops->timer(f->engine);
	return true;
}

void fake_pump(struct fake *f)
{
	bool busy = true;

	for (unsigned i = 0; busy; i++) {
		BUG_ON(i > 1000000);
		f->again = f->ready = false;
		f->engine->ops->run(f->engine);
		busy = drain(f) || f->again;
		if (f->engine->out.failed || f->engine->aborted)
			return;
		if (f->pending && !f->hold) {
			fake_answer(f);
			busy = true;
		}
		busy = answer_login(f) || busy || f->ready;
		busy = answer_timer(f) || busy;
	}
	if (f->engine->ops->wants_input(f->engine))
		access_out_relax(&f->engine->out);
}

const char *fake_talk(struct fake *f, const char *text, size_t n, size_t piece)
{
	struct bytes left = bytes_make(text, n);
	unsigned idle = 0;

	f->out_n = 0;
	f->out[0] = 0;
	while (left.n && !f->engine->ended && !f->engine->aborted) {
		struct bytes part = bytes_first(left, piece ? piece : left.n);
		/* The octets of a piece lie alone in memory: an overread is seen by ASan. */
		uint8_t *copy = malloc(part.n);
		memcpy(copy, part.p, part.n);
		size_t taken = 0;
		if (f->engine->ops->wants_input(f->engine))
			taken = f->engine->ops->input(f->engine, bytes_make(copy, part.n));
		free(copy);
		left = bytes_skip(left, taken);
		fake_pump(f);
		idle = taken ? 0 : idle + 1;
		if (idle > 3)
			break;
	}
	fake_pump(f);
	return f->out;
}

void fake_start(struct fake *f, size_t engine_bytes, void (*init)(struct access_engine *e))
{
	static char output[FAKE_OUTPUT + 1]; /* one engine at a time */

	f->out = output;
	f->out_n = 0;
	f->out[0] = 0;
	f->engine = calloc(1, engine_bytes);
	f->engine->host = &fake_ops;
	f->engine->host_ctx = f;
	f->engine->hostname = "mail.example.org";
	f->engine->message_bytes_max = 4 * 1024 * 1024;
	f->engine->plaintext_login = true;
	init(f->engine);
	f->engine->ops->start(f->engine);
	fake_pump(f);
}

void fake_hangup(struct fake *f)
{
	f->engine->hung_up = true;
	f->engine->ops->hangup(f->engine);
	for (unsigned i = 0; i < 10; i++) {
		if (f->pending)
			fake_answer(f);
		answer_login(f);
		f->engine->ops->run(f->engine);
	}
	access_out_free(&f->engine->out);
}

void fake_stop(struct fake *f)
{
	if (!f->engine->hung_up)
		fake_hangup(f);
	BUG_ON(f->engine->busy || f->spaces_out);
	for (unsigned i = 0; i < FAKE_BOXES; i++) {
		for (uint32_t k = 0; f->boxes[i].used && k < f->boxes[i].count; k++) {
			free(f->boxes[i].messages[k].data);
			free(f->boxes[i].messages[k].shape);
		}
	}
	free(f->parts);
	free(f->engine);
	memset(f, 0, sizeof(*f));
}
