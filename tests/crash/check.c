/* SPDX-License-Identifier: BSD-3-Clause
 * Opens the store on disks as crashes leave them and compares it with what had been promised.
 *
 *   crash_check LOG SEED IMAGES [DIRECTORY]
 *
 * Exit status: 0 all images are right, 1 one is not, 3 the campaign itself failed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "store/check.h"
#include "store/body.h"
#include "store/store_priv.h"
#include "tests/crash/image.h"
#include "tests/crash/lane.h"

#define FULL_EVERY 8 /* images in which the writer is started as well */
#define WRONG_MAX  256

static struct lane lanes[LANES], lanes_next[LANES]; /* as promised; one operation further */
static bool begun;
static char directory[512];
static char wrong[WRONG_MAX];

static bool is_wrong(const char *format, ...) PRINTF(1, 2);
static bool is_wrong(const char *format, ...)
{
	va_list ap;

	if (wrong[0])
		return false;
	va_start(ap, format);
	vsnprintf(wrong, sizeof(wrong), format, ap);
	va_end(ap);
	return false;
}

/* ---- one lane ---- */

struct look {
	struct db *db;
	MDB_txn *txn;
	const struct lane *lane;
	char why[WRONG_MAX];
};

static bool differs(struct look *k, const char *what, unsigned long long a, unsigned long long b)
{
	snprintf(k->why, sizeof(k->why), "%s: %llu, must be %llu", what, a, b);
	return false;
}

static bool body_is(struct look *k, uint64_t blob, uint32_t bytes)
{
	struct body_head h;
	int rc = body_head_read(k->txn, k->db, blob, &h);

	if (rc || h.r.size != bytes)
		return differs(k, "size of a body", rc ? 0 : h.r.size, bytes);
	for (uint32_t n = 0, at = 0; n < h.r.chunks; n++) {
		struct bytes data;
		if (body_chunk_read(k->txn, k->db, blob, &h, n, &data))
			return differs(k, "chunk", n, n);
		for (size_t i = 0; i < data.n; i++, at++) {
			if (data.p[i] != lane_octet(blob, at))
				return differs(k, "octet", at, at);
		}
	}
	return true;
}

static bool rows_are(struct look *k, uint32_t box, const struct lane_box *want)
{
	struct db_cursor c;
	struct key key;
	uint32_t n = 0;
	bool same = true;
	int rc = db_cursor_open(k->txn, k->db, DB_MSG, &c);

	if (!rc)
		rc = db_cursor_seek(&c, key_msg(&key, k->lane->account, box, 0));
	for (; !rc && same && memcmp(c.key.p, key.p, 8) == 0; n++, rc = db_cursor_next(&c)) {
		struct mbox_row row;
		if (n == want->n || !rec_read(c.value, &row, sizeof(row)))
			same = differs(k, "messages", n + 1, want->n);
		else if (row.uid != want->rows[n].uid || row.flags != want->rows[n].flags ||
			 row.blob != want->rows[n].blob)
			same = differs(k, "uid", row.uid, want->rows[n].uid);
		else
			same = body_is(k, row.blob, want->rows[n].bytes);
	}
	db_cursor_close(&c);
	return same && (n == want->n || differs(k, "messages", n, want->n));
}

static bool box_is(struct look *k, uint32_t which)
{
	const struct lane_box *want = &k->lane->boxes[which];
	struct boxname_rec name;
	struct box_rec r = {0};
	struct bytes v;
	struct key key;
	int rc = db_get(k->txn, k->db, DB_BOXNAME,
		key_boxname(&key, k->lane->account, bytes_str(lane_box_names[which])), &v);

	if (rc || !want->exists)
		return (rc != 0) == !want->exists || differs(k, "mailbox", !rc, want->exists);
	if (!rec_read(v, &name, sizeof(name)))
		return differs(k, "name", 0, 1);
	rc = db_get(k->txn, k->db, DB_BOX, key_box(&key, k->lane->account, name.box), &v);
	if (rc || !rec_read(v, &r, sizeof(r)) || r.uidnext != want->uidnext)
		return differs(k, "uidnext", rc ? 0 : r.uidnext, want->uidnext);
	return rows_are(k, name.box, want);
}

static bool rcpt_is(struct look *k, uint64_t id, uint32_t n, const struct lane_rcpt *want)
{
	struct qr_rec r = {0};
	struct bytes v;
	struct key key;
	int rc = db_get(k->txn, k->db, DB_QR, key_id_n(&key, id, n), &v);

	if (rc || !want->pending)
		return (rc != 0) == !want->pending || differs(k, "recipient", !rc, want->pending);
	if (!rec_read(v, &r, sizeof(r)) || r.attempts != want->attempts)
		return differs(k, "attempts", r.attempts, want->attempts);
	if ((r.state == QUEUE_HELD) != want->held)
		return differs(k, "held", r.state, want->held);
	return want->next_ms == 0 || r.next_ms == want->next_ms ||
	       differs(k, "next attempt", r.next_ms, want->next_ms);
}

static bool message_is(struct look *k, const struct lane_message *m)
{
	struct bytes v;
	struct key key;

	if (db_get(k->txn, k->db, DB_Q, key_id(&key, m->id), &v))
		return differs(k, "queued message", 0, m->id);
	for (uint32_t i = 0; i < LANE_RCPTS_MAX; i++) {
		if (!rcpt_is(k, m->id, i, &m->rcpts[i]))
			return false;
	}
	return body_is(k, m->id, m->bytes);
}

static uint32_t queued_of(struct look *k)
{
	struct db_cursor c;
	uint32_t n = 0;
	int rc = db_cursor_open(k->txn, k->db, DB_Q, &c);
	struct key key;

	for (rc = rc ? rc : db_cursor_seek(&c, key_id(&key, 0)); !rc; rc = db_cursor_next(&c))
		n += (key_get_u64(c.key, 0) - LANE_ID_BASE) / 2 % LANES == k->lane->number;
	db_cursor_close(&c);
	return n;
}

static bool lane_is(struct look *k)
{
	for (uint32_t b = 0; b < LANE_BOXES; b++) {
		if (!box_is(k, b))
			return false;
	}
	for (uint32_t i = 0; i < k->lane->queue_n; i++) {
		if (!message_is(k, &k->lane->queue[i]))
			return false;
	}
	uint32_t n = queued_of(k);
	return n == k->lane->queue_n || differs(k, "queued messages", n, k->lane->queue_n);
}

static bool lanes_are(struct db *db)
{
	struct look a = {.db = db}, b = {.db = db};
	bool right = true;

	if (db_begin(db, false, &a.txn))
		return is_wrong("no transaction");
	b.txn = a.txn;
	for (int i = 0; i < LANES && right; i++) {
		a.lane = &lanes[i];
		b.lane = &lanes_next[i];
		if (!lane_is(&a) && !lane_is(&b))
			right = is_wrong("lane %d after operation %u: %.90s; after the next: %.90s",
				i, lanes[i].done, a.why, b.why);
	}
	db_abort(a.txn);
	return right;
}

/* ---- one image ---- */

static void problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	is_wrong("check: %s: %s: %s", p->what, p->object, p->detail);
}

static bool rows_fit(struct db *db)
{
	struct check *c = check_create(&(struct check_conf){.db = db, .problem = problem});
	int err = c ? check_run(c, db, false) : -ENOMEM;

	check_destroy(&c);
	return err ? is_wrong("the check cannot run: %s", strerror(-err)) : !wrong[0];
}

static struct waker waker;
static bool is_done;

static void done(struct op *op)
{
	(void)op;
	is_done = true;
}

/* The writer works on it, ends what had been left half done, and leaves it in order. */
static bool writer_works(struct store *s)
{
	struct service *w = store_writer(s);
	struct queue_admin_op op = {
		.op = {.kind = STORE_QUEUE_ADMIN, .done = done},
                  .id = 1
        };
	struct channel c;
	bool ok = channel_init(&c, "full", 1, &waker, &w->waker, -1) == 0 &&
		  service_add(w, &c) == 0 && store_start(s) == 0;

	if (!ok)
		return is_wrong("threads");
	is_done = false;
	ok = channel_submit(&c, &op.op) == 0;
	while (ok && !is_done) {
		if (channel_poll(&c) == 0)
			usleep(20);
	}
	store_stop(s);
	channel_fini(&c);
	if (op.op.status != -ENOENT)
		return is_wrong("the writer does not work: %d", op.op.status);
	return rows_fit(&s->db) && (!begun || lanes_are(&s->db));
}

static void directory_empty(void)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "lock", "ballast"};
	char path[600];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
}

static bool image_is_right(bool full)
{
	static const char *const domains[] = {"example.org"};
	struct store_conf conf = {.path = directory,
		.shards = 1,
		.readers = 1,
		.map_bytes = 1ull << 30,
		.reserve_bytes = 1,
		.local_domains = domains,
		.local_domain_count = 1};
	struct store *s;
	char error[512];

	wrong[0] = '\0';
	if (store_open(&conf, &s, error, sizeof(error)) < 0)
		return is_wrong("%.200s", error);
	bool right = rows_fit(&s->db) && (!begun || lanes_are(&s->db));
	if (right && full)
		right = writer_works(s);
	store_close(&s);
	return right;
}

/* ---- the campaign ---- */

static void lane_go_on(uint64_t mark)
{
	struct lane *l = &lanes[mark >> 32];
	struct lane_op op;

	if (mark == 0) {
		begun = true;
		return;
	}
	*l = lanes_next[l->number];
	if (l->done != (uint32_t)mark) {
		fprintf(stderr, "crash_check: the marks have a gap\n");
		exit(3);
	}
	lane_next(l, &op);
	lane_apply(&lanes_next[l->number], &op);
}

static void lanes_begin(uint64_t seed)
{
	struct lane_op op;

	for (uint32_t i = 0; i < LANES; i++) {
		lane_init(&lanes[i], seed, i);
		lanes[i].account = i + 1; /* in order, in an empty store */
		lanes_next[i] = lanes[i];
		lane_next(&lanes[i], &op);
		lane_apply(&lanes_next[i], &op);
	}
}

static int directory_make(const char *where)
{
	snprintf(directory, sizeof(directory), "%s/image-XXXXXX", where);
	return mkdtemp(directory) ? 0 : -errno;
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");

	if (argc < 4) {
		fprintf(stderr, "usage: crash_check LOG SEED IMAGES [DIRECTORY]\n");
		return 2;
	}
	uint64_t seed = strtoull(argv[2], NULL, 10), images = strtoull(argv[3], NULL, 10);
	struct image *image = image_open(argv[1]);
	uint64_t records = image_records(image), made = 0, mark, worst = 0;

	if (waker_init(&waker) < 0)
		return 3;
	if (directory_make(argc > 4 ? argv[4] : tmp ? tmp : "/tmp") < 0)
		return 3;
	log_set_level(LOG_ERROR);
	lanes_begin(seed);
	/* Evenly over the log, and at each place with every fate in turn. */
	for (uint64_t n = 1; image_step(image, &mark); n++) {
		if (mark != UINT64_MAX)
			lane_go_on(mark);
		for (; made < images && made * records < n * images; made++) {
			enum image_fate fate = (enum image_fate)(made % IMAGE_FATES);
			int err = image_write(image, directory, fate, seed * 1000003 + made);
			if (err < 0) {
				fprintf(stderr, "crash_check: %s: %s\n", directory, strerror(-err));
				return 3;
			}
			uint64_t start = clock_mono_us();
			bool right = image_is_right(made % FULL_EVERY == 0);
			worst = MAX(worst, clock_mono_us() - start);
			if (!right) {
				printf("image %llu (record %llu of %llu, pending writes: %s of "
				       "%u), seed "
				       "%llu: %s\n",
					(unsigned long long)made, (unsigned long long)n,
					(unsigned long long)records, image_fate_names[fate],
					image_pending(image), (unsigned long long)seed, wrong);
				directory_empty();
				rmdir(directory);
				return 1;
			}
			directory_empty();
		}
	}
	rmdir(directory);
	uint32_t done = 0;
	for (int i = 0; i < LANES; i++)
		done += lanes[i].done;
	printf("%llu images of %llu records with %u acknowledgements, all right; slowest start "
	       "%llu "
	       "ms\n",
		(unsigned long long)made, (unsigned long long)records, done,
		(unsigned long long)(worst / 1000));
	image_close(&image);
	return 0;
}
