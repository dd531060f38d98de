/* SPDX-License-Identifier: BSD-3-Clause
 * What the writer does about a full disk and a failing one.  Writer thread. */
#include <errno.h>
#include <sys/statvfs.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "store/db_journal.h"
#include "store/writer.h"

#define RESERVE_MAX       (4ull << 30)
#define RESERVE_PERCENT   5
#define REOPEN_DELAY_US   (2 * US_PER_SEC) /* before the second attempt; times 4 before the third */
#define REOPEN_FORGIVE_US (600 * US_PER_SEC) /* without a failure: the count starts anew */
#define MOVE_PART         8                  /* at most as much of the room that there is */
#define MAP_RESERVE_PART  8                  /* of a small map: room for deletions */

static uint64_t disk_free(const struct writer *w, uint64_t *total_r)
{
	struct statvfs v;

	if (statvfs(w->db->path, &v) < 0) {
		*total_r = 0;
		return UINT64_MAX; /* unknown: the commit will tell */
	}
	*total_r = (uint64_t)v.f_blocks * v.f_frsize;
	return (uint64_t)v.f_bavail * v.f_frsize;
}

/* min(5 %, 4 GiB) by default, and never less than a full group needs. */
static uint64_t reserve_of(const struct writer *w, uint64_t total)
{
	uint64_t reserve = w->store->conf.reserve_bytes;

	if (reserve == 0)
		reserve = MIN(total / 100 * RESERVE_PERCENT, RESERVE_MAX);
	return MAX(reserve, w->group_bytes);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a - MIN(a, b);
}

struct room {
	uint64_t disk, disk_reserve, map, map_reserve; /* octets */
};

static struct room room_of(const struct writer *w)
{
	uint64_t total, map = w->db->map_bytes;
	struct room r = {.disk = disk_free(w, &total), .map = less(map, db_used_bytes(w->db))};

	r.disk_reserve = reserve_of(w, total);
	r.map_reserve = MIN(r.disk_reserve, map / MAP_RESERVE_PART);
	return r;
}

uint64_t writer_room_to_move(const struct writer *w, uint64_t enough)
{
	const struct room r = room_of(w);
	uint64_t growth = MIN(less(r.disk, r.disk_reserve / 2), less(r.map, r.map_reserve));

	enough *= MOVE_PART;
	if (growth < enough) {
		uint64_t holes = db_hole_bytes(w->db), kept = holes + r.map_reserve;
		growth = MAX(growth, less(db_free_bytes(w->db, kept + enough), kept));
	}
	return growth / MOVE_PART;
}

bool writer_has_room(const struct writer *w)
{
	const struct room r = room_of(w);
	uint64_t disk_lack = less(r.disk_reserve, r.disk), map_lack = less(r.map_reserve, r.map);

	atomic_store_explicit(&w->store->reserve_bytes, r.disk_reserve, memory_order_relaxed);
	if (disk_lack == 0 && map_lack == 0)
		return true;
	/* What deletions have freed inside the files counts as room, but for holes: those are the
	 * disk's. */
	disk_lack = less(disk_lack, w->db->noting ? journal_free(w->db->journal) : 0);
	uint64_t lack = MAX(disk_lack + (disk_lack ? db_hole_bytes(w->db) : 0), map_lack);
	return db_free_bytes(w->db, lack) >= lack;
}

/* LMDB reports a short write, which is how a full disk may look, as EIO. */
static bool disk_is_full(const struct writer *w)
{
	uint64_t total;

	return disk_free(w, &total) < w->group_bytes;
}

enum writer_error writer_classify(const struct writer *w, int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
	case ENOSPC:
	case EDQUOT:
		return WRITER_ERROR_FULL;
	case EIO:
		return disk_is_full(w) ? WRITER_ERROR_FULL : WRITER_ERROR_FAILED;
	case MDB_PANIC:
	case EROFS:
	case EBADF:
		return WRITER_ERROR_FAILED;
	default:
		return WRITER_ERROR_ONE;
	}
}

/* The first attempt is made at once: LMDB answers no reader either after a failed meta write. */
static uint64_t reopen_delay_us(unsigned reopens)
{
	return reopens ? REOPEN_DELAY_US << 2 * (reopens - 1) : 0;
}

/* What cannot be made durable is refused, and so it must not be there. */
static void undo(struct writer *w)
{
	int rc = db_undo(w->db);

	if (rc)
		log_error(
			"store", "undo-failed path=%s error=\"%s\"", w->db->path, mdb_strerror(rc));
	w->unsynced = false;
}

/* The environment as it is on disk. */
static int reopen(struct writer *w)
{
	store_backup_end(w->store);
	store_readers_pause(w->store);
	writer_index_forget(w);
	w->moving = (struct writer_moving){0};
	int rc = -db_reopen(w->db);
	store_readers_resume(w->store);
	if (!rc)
		writer_publish_counts(w);
	return rc;
}

void writer_fail(struct writer *w, int rc)
{
	uint64_t now = clock_mono_us();

	undo(w);
	if (w->failed_at_us && now - w->failed_at_us > REOPEN_FORGIVE_US)
		w->reopens = 0;
	w->failed_at_us = now;
	w->reopen_at_us = now + reopen_delay_us(w->reopens);
	atomic_store_explicit(&w->store->health, STORE_FAILED, memory_order_release);
	db_durable_set(w->db, UINT64_MAX); /* readers go on with what there is */
	log_error("store", "shard-failed path=%s error=\"%s\" reopens=%u", w->db->path,
		mdb_strerror(rc), w->reopens);
	/* Before anybody is refused: then nobody finds it, however long the disk is tried. */
	w->opened_anew = reopen(w) == 0;
	if (!w->opened_anew)
		log_warn("store", "shard-only-read path=%s", w->db->path);
}

/* A commit of its own proves that the disk takes writes again. */
int writer_prove(struct writer *w)
{
	MDB_txn *txn;
	int rc = db_begin(w->db, true, &txn);

	if (rc)
		return rc;
	rc = db_meta_put(txn, w->db, "reopened", clock_wall_ms());
	if (rc) {
		db_abort(txn);
		return rc;
	}
	return db_commit(txn);
}

void writer_recover(struct writer *w)
{
	if (atomic_load_explicit(&w->store->health, memory_order_relaxed) != STORE_FAILED ||
		w->reopens >= WRITER_REOPENS_MAX || clock_mono_us() < w->reopen_at_us)
		return;
	w->reopens++;
	int rc = w->opened_anew ? 0 : reopen(w);
	w->opened_anew = false;
	if (!rc)
		rc = writer_prove(w);
	if (!rc) {
		atomic_store_explicit(&w->store->health, STORE_OK, memory_order_release);
		w->garbage = true;
		log_warn("store", "shard-reopened path=%s reopens=%u", w->db->path, w->reopens);
		return;
	}
	counter_inc(CTR_STORE_ERRORS);
	w->failed_at_us = clock_mono_us();
	w->reopen_at_us = w->failed_at_us + reopen_delay_us(w->reopens);
	log_error("store", "reopen-failed path=%s error=\"%s\" reopens=%u%s", w->db->path,
		mdb_strerror(rc), w->reopens,
		w->reopens == WRITER_REOPENS_MAX ? " giving-up=yes" : "");
}
