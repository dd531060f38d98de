/* SPDX-License-Identifier: BSD-3-Clause
 * Opens the store on disks as crashes leave them and compares it with what had been promised.
 *
 *   crash_check LOG SEED IMAGES [DIRECTORY [relaxed]]
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
#include "store/store_priv.h"
#include "tests/crash/conf.h"
#include "tests/crash/image.h"
#include "tests/crash/lane_look.h"

#define FULL_EVERY 8 /* images in which the writer is started as well */
#define WRONG_MAX  256

static struct lane lanes[LANES], lanes_next[LANES]; /* as promised; one operation further */
static bool begun, relaxed; /* relaxed: nothing has been promised, but the rows must agree */
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

static bool lanes_are(struct db *db)
{
	char why[LANE_WHY_MAX], why_next[LANE_WHY_MAX];
	MDB_txn *txn;
	bool right = true;

	if (db_begin(db, false, &txn))
		return is_wrong("no transaction");
	for (int i = 0; i < LANES && right; i++) {
		if (!lane_look(db, txn, &lanes[i], why) &&
			!lane_look(db, txn, &lanes_next[i], why_next))
			right = is_wrong("lane %d after operation %u: %.90s; after the next: %.90s",
				i, lanes[i].done, why, why_next);
	}
	db_abort(txn);
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
	return rows_fit(&s->db) && (!begun || relaxed || lanes_are(&s->db));
}

static void directory_empty(void)
{
	static const char *const names[] = {
		"data.mdb", "data.mdb.new", "journal", "lock.mdb", "lock", "ballast"};
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
		.group_bytes = CRASH_GROUP,
		.checkpoint_bytes = CRASH_CHECKPOINT,
		.journal_spare = CRASH_SPARE,
		.index_rows = 48,
		.local_domains = domains,
		.local_domain_count = 1};
	struct store *s;
	char error[512];

	wrong[0] = '\0';
	if (store_open(&conf, &s, error, sizeof(error)) < 0)
		return is_wrong("%.200s", error);
	bool right = rows_fit(&s->db) && (!begun || relaxed || lanes_are(&s->db));
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
		fprintf(stderr, "usage: crash_check LOG SEED IMAGES [DIRECTORY [relaxed]]\n");
		return 2;
	}
	uint64_t seed = strtoull(argv[2], NULL, 10), images = strtoull(argv[3], NULL, 10);
	struct image *image = image_open(argv[1]);
	uint64_t records = image_records(image), made = 0, mark, worst = 0;

	if (waker_init(&waker) < 0)
		return 3;
	if (directory_make(argc > 4 ? argv[4] : tmp ? tmp : "/tmp") < 0)
		return 3;
	relaxed = argc > 5;
	log_set_level(LOG_ERROR);
	lanes_begin(seed);
	/* Evenly over the log, and at each place with every fate in turn. */
	for (uint64_t n = 1; image_step(image, &mark); n++) {
		if (mark != UINT64_MAX)
			lane_go_on(mark);
		for (; made < images && made * records < n * images; made++) {
			enum image_fate fate = (enum image_fate)(made % IMAGE_FATES);
			const enum image_fate fates[2] = {fate, fate};
			int err = image_write(image, directory, fates, seed * 1000003 + made);
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
