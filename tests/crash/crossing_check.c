/* SPDX-License-Identifier: BSD-3-Clause
 * Opens a store of two shards on disks as crashes leave them, each disk in its own way, and
 * compares it with what had been promised: nothing lost, nobody gets anything twice.
 *
 *   crossing_check LOG SEED IMAGES [DIRECTORY]
 *
 * Exit status: 0 all images are right, 1 one is not, 3 the campaign itself failed. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "store/check.h"
#include "store/store_priv.h"
#include "tests/crash/conf.h"
#include "tests/crash/crossing_look.h"
#include "tests/crash/image.h"

#define FULL_EVERY 8 /* images in which writers and courier go on */
#define SETTLE_S   30
#define WINDOW     6 /* messages that are begun and not yet accepted, at most */

static struct crossing_seen seen;
static struct crossing_promise promise = {.seen = &seen};
static char directory[512];
static char wrong[CROSSING_WHY_MAX];

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

static bool is_right(struct shards *s, bool settled)
{
	char why[CROSSING_WHY_MAX];

	for (unsigned i = 0; i < CROSSING_SHARDS; i++) {
		if (!rows_fit(&shards_get(s, i)->db))
			return false;
	}
	if (!promise.begun || crossing_look(s, &promise, settled, why))
		return true;
	return is_wrong("%s%s", settled ? "after the courier: " : "", why);
}

static uint64_t rows_of(const struct shards *s, enum db_id table)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < CROSSING_SHARDS; i++) {
		struct db_table t;
		if (db_table_look(&shards_get(s, i)->db, table, &t))
			return UINT64_MAX;
		n += t.rows;
	}
	return n;
}

/* Writers and courier end what they had begun. */
static bool goes_on(struct shards *s)
{
	uint64_t end = clock_mono_us() + SETTLE_S * US_PER_SEC;

	if (shards_start(s) < 0)
		return is_wrong("threads");
	while (rows_of(s, DB_MOVE) || rows_of(s, DB_DEDUP)) {
		if (clock_mono_us() > end)
			return is_wrong("the courier does not end");
		usleep(500);
	}
	shards_stop(s);
	return is_right(s, true);
}

static void directory_empty(void)
{
	static const char *const names[] = {
		"data.mdb", "data.mdb.new", "journal", "lock.mdb", "lock", "ballast"};
	char path[600];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
		snprintf(path, sizeof(path), "%s/shard1/%s", directory, names[i]);
		unlink(path);
	}
}

static void directory_remove(void)
{
	char path[600];

	directory_empty();
	snprintf(path, sizeof(path), "%s/shard1", directory);
	rmdir(path);
	rmdir(directory);
}

static bool image_is_right(bool full)
{
	static const char *const domains[] = {"example.org"};
	struct store_conf conf = {.path = directory,
		.shards = CROSSING_SHARDS,
		.readers = 1,
		.map_bytes = 1ull << 30,
		.reserve_bytes = 1,
		.group_bytes = CRASH_GROUP,
		.checkpoint_bytes = CRASH_CHECKPOINT,
		.journal_spare = CRASH_SPARE,
		.index_rows = 16,
		.queue_lifetime_ms = 1ull << 60,
		.local_domains = domains,
		.local_domain_count = 1};
	struct shards *s;
	char error[512];

	wrong[0] = '\0';
	if (shards_open(&conf, &s, error, sizeof(error)) < 0)
		return is_wrong("%.200s", error);
	bool right = is_right(s, false);
	if (right && full)
		right = goes_on(s);
	shards_close(&s);
	return right;
}

/* ---- the campaign ---- */

static void promised(uint64_t mark)
{
	uint64_t n = mark & ~(255ull << 56);

	switch ((enum crossing_mark)(mark >> 56)) {
	case CROSSING_ACCOUNT:
		promise.account[(n >> 32) % CROSSING_ACCOUNTS] = (uint32_t)n;
		break;
	case CROSSING_BEGUN:
		promise.begun = true;
		promise.end = WINDOW;
		break;
	case CROSSING_ACCEPTED:
		promise.accepted[n % CROSSING_MAX] = true;
		promise.end = MAX(promise.end, (uint32_t)n + 1 + WINDOW);
		break;
	case CROSSING_DELIVERED:
		promise.delivered[n % CROSSING_MAX] = true;
		break;
	}
	promise.end = MIN(promise.end, (uint32_t)CROSSING_MAX);
}

static int directory_make(const char *where)
{
	char path[600];

	snprintf(directory, sizeof(directory), "%s/image-XXXXXX", where);
	if (!mkdtemp(directory))
		return -errno;
	snprintf(path, sizeof(path), "%s/shard1", directory);
	return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int one(struct image *image, uint64_t made, uint64_t record, uint64_t seed)
{
	/* All pairs in turn. */
	const enum image_fate fates[2] = {(enum image_fate)(made % IMAGE_FATES),
		(enum image_fate)(made / IMAGE_FATES % IMAGE_FATES)};
	int err = image_write(image, directory, fates, seed * 1000003 + made);

	if (err < 0) {
		fprintf(stderr, "crossing_check: %s: %s\n", directory, strerror(-err));
		return 3;
	}
	if (!image_is_right(made % FULL_EVERY == 0)) {
		printf("image %llu (record %llu of %llu, pending writes: %s and %s of %u), seed "
		       "%llu: %s\n",
			(unsigned long long)made, (unsigned long long)record,
			(unsigned long long)image_records(image), image_fate_names[fates[0]],
			image_fate_names[fates[1]], image_pending(image), (unsigned long long)seed,
			wrong);
		return 1;
	}
	directory_empty();
	return 0;
}

static int campaign(struct image *image, uint64_t images, uint64_t seed)
{
	uint64_t records = image_records(image), made = 0, mark, marks = 0;
	int status = 0;

	/* Evenly over the log. */
	for (uint64_t n = 1; status == 0 && image_step(image, &mark); n++) {
		if (mark != UINT64_MAX) {
			promised(mark);
			marks++;
		}
		for (; status == 0 && made < images && made * records < n * images; made++)
			status = one(image, made, n, seed);
	}
	if (status == 0)
		printf("%llu images of %llu records with %llu acknowledgements, all right; "
		       "recipients on their way: %llu before in, %llu before out, %llu before "
		       "forget\n",
			(unsigned long long)made, (unsigned long long)records,
			(unsigned long long)marks, (unsigned long long)seen.waiting,
			(unsigned long long)seen.in_both, (unsigned long long)seen.remembered);
	return status;
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");

	if (argc < 4) {
		fprintf(stderr, "usage: crossing_check LOG SEED IMAGES [DIRECTORY]\n");
		return 2;
	}
	struct image *image = image_open(argv[1]);
	promise.seed = strtoull(argv[2], NULL, 10);
	log_set_level(LOG_ERROR);
	if (directory_make(argc > 4 ? argv[4] : tmp ? tmp : "/tmp") < 0)
		return 3;
	/* The courier takes what crosses as messages in memory. */
	if (chunk_pool_init(4096, -1) < 0 || message_pool_init(256, -1) < 0)
		return 3;
	int status = campaign(image, strtoull(argv[3], NULL, 10), promise.seed);
	directory_remove();
	image_close(&image);
	return status;
}
