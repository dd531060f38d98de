/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/offline.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>
#include "store/check.h"
#include "store/control/convert.h"
#include "store/control/privileges.h"
#include "store/db_copy.h"
#include "store/db_queue_index.h"
#include "store/shards.h"

#define KEPT ".replaced" /* behind the names of the files that a restore put aside */

struct offline_work {
	const struct offline *o;
	struct store_conf conf;
	struct privileges privileges;
	/* the shard that is being worked on */
	unsigned shard, count;
	char path[DB_PATH_MAX];   /* its directory */
	char beside[DB_PATH_MAX]; /* of its copy: backup, restore */
	struct db_shard first;    /* shard 0, as it says itself */
	/* sums of all shards */
	struct check_totals totals;
	uint64_t bytes_before, bytes;
	char error[1200];
};

static void print(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(object);
}

static int done(json_t *fields)
{
	json_t *last = json_pack("{s:b}", "ok", 1);

	if (fields)
		json_object_update(last, fields);
	json_decref(fields);
	print(last);
	return EXIT_SUCCESS;
}

static int fail(const struct offline_work *w)
{
	print(json_pack("{s:b, s:s, s:s}", "ok", 0, "status", "error", "error", w->error));
	return EXIT_FAILURE;
}

/* A line about the shard under way. */
static void print_line(const struct offline_work *w, json_t *object)
{
	if (w->count > 1)
		json_object_set_new(object, "shard", json_integer(w->shard));
	print(object);
}

/* ---- check ---- */

static void problem(void *ctx, const struct check_problem *p)
{
	print_line(
		ctx, json_pack("{s:s, s:s, s:s, s:b, s:b}", "problem", p->what, "object", p->object,
			     "detail", p->detail, "repaired", p->repaired, "lost", p->lost));
}

static json_t *totals_json(const struct check_totals *t)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "problems",
		(json_int_t)t->problems, "repaired", (json_int_t)t->repaired, "lost",
		(json_int_t)t->lost, "busy", (json_int_t)0, "bodies", (json_int_t)t->blobs,
		"body_bytes", (json_int_t)t->body_bytes, "queued", (json_int_t)t->queued,
		"recipients", (json_int_t)t->recipients, "accounts", (json_int_t)t->accounts,
		"mailboxes", (json_int_t)t->mailboxes, "messages", (json_int_t)t->messages);
}

static void totals_add(struct check_totals *sum, const struct check_totals *t)
{
	sum->problems += t->problems;
	sum->repaired += t->repaired;
	sum->lost += t->lost;
	sum->blobs += t->blobs;
	sum->body_bytes += t->body_bytes;
	sum->queued += t->queued;
	sum->recipients += t->recipients;
	sum->accounts += t->accounts;
	sum->mailboxes += t->mailboxes;
	sum->messages += t->messages;
}

static int check(struct offline_work *w, struct db *db, bool repair)
{
	struct check *c = check_create(
		&(struct check_conf){.db = db, .repair = repair, .problem = problem, .ctx = w});
	int err = c ? check_run(c, db, repair) : -ENOMEM;

	if (err)
		snprintf(w->error, sizeof(w->error), "%s: the check ended: %s", db->path,
			strerror(-err));
	else
		totals_add(&w->totals, check_totals(c));
	check_destroy(&c);
	return err;
}

static int check_only(struct offline_work *w, struct db *db)
{
	return check(w, db, false);
}

static int repair(struct offline_work *w, struct db *db)
{
	return check(w, db, true);
}

/* ---- stat ---- */

static int stat_show(struct offline_work *w, struct db *db)
{
	uint64_t young = 0, stale = 0;
	int rc = 0;

	print_line(w, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "file_bytes",
			      (json_int_t)db_file_bytes(db), "journal_bytes",
			      (json_int_t)db_journal_bytes(db), "used_bytes",
			      (json_int_t)db_used_bytes(db), "free_bytes",
			      (json_int_t)db_free_bytes(db, UINT64_MAX), "map_bytes",
			      (json_int_t)db->map_bytes, "format", (json_int_t)STORE_FORMAT));
	for (int id = 0; !rc && id < DB_N; id++) {
		struct db_table t;
		rc = db_table_look(db, (enum db_id)id, &t);
		if (!rc)
			print_line(
				w, json_pack("{s:s, s:I, s:I, s:I}", "table", t.name, "rows",
					   (json_int_t)t.rows, "bytes", (json_int_t)t.pages * 4096,
					   "depth", (json_int_t)t.depth));
	}
	if (!rc)
		rc = queue_index_figures_look(db, &young, &stale);
	if (!rc)
		print_line(w, json_pack("{s:I, s:I}", "index_young", (json_int_t)young,
				      "index_stale", (json_int_t)stale));
	if (rc)
		snprintf(w->error, sizeof(w->error), "%s: cannot be read", db->path);
	return rc ? -EIO : 0;
}

/* ---- backup, compact, restore ---- */

static int backup(struct offline_work *w, struct db *db)
{
	struct db_backup *b;
	uint64_t octets;
	int err = db_backup_start(db, w->beside, UINT64_MAX / 2, &b, w->error, sizeof(w->error));

	if (err < 0)
		return err;
	db_backup_wait(b);
	bool copied = db_backup_poll(b, &octets) == DB_BACKUP_DONE;
	snprintf(w->error, sizeof(w->error), "%s", db_backup_error(b));
	db_backup_destroy(&b);
	w->bytes += octets;
	return copied ? 0 : -EIO;
}

static void work_directory(const struct offline_work *w, char out[DB_PATH_MAX + 16])
{
	snprintf(out, DB_PATH_MAX + 16, "%.*s/new", DB_PATH_MAX, w->path);
}

static int compact(struct offline_work *w, struct db *db)
{
	char directory[DB_PATH_MAX + 16];
	uint64_t before = db_file_bytes(db) + db_journal_bytes(db);
	struct db_copy_watch watch = {0};

	work_directory(w, directory);
	db_copy_clear(directory);
	int err = db_rewrite(db, directory, &watch, w->error, sizeof(w->error));
	/* The lock is kept: nobody may open the store between the two. */
	if (!err) {
		db_close_env(db);
		err = db_replace(w->path, directory, NULL, w->error, sizeof(w->error));
	}
	if (err)
		db_copy_clear(directory);
	w->bytes_before += before;
	w->bytes += db_file_bytes(db);
	return err;
}

/* The shard under way as it must be. */
static struct db_shard shard_wanted(const struct offline_work *w)
{
	struct db_shard s = {.number = w->shard, .count = w->count};

	if (w->shard) {
		s.set = w->first.set;
		s.must_exist = w->first.whole;
	}
	return s;
}

/* The copy is looked over where it lies before it becomes the store. */
static int restore_check(struct offline_work *w, const char *directory)
{
	struct db_shard want = shard_wanted(w);
	struct db db;
	/* It gets a journal when it is the store. */
	int err =
		db_open_plain(&db, directory, &want, w->conf.map_bytes, w->error, sizeof(w->error));

	if (err)
		return err;
	if (w->shard == 0)
		w->first = db.shard;
	struct check *c =
		check_create(&(struct check_conf){.db = &db, .problem = problem, .ctx = w});
	err = c ? check_run(c, &db, false) : -ENOMEM;
	if (err)
		snprintf(w->error, sizeof(w->error), "%s: cannot be checked: %s", w->beside,
			strerror(-err));
	check_destroy(&c);
	/* One of an older format has been raised, too. */
	if (!err && (db_uids_skip(&db) || db_plain_sync(&db))) {
		snprintf(w->error, sizeof(w->error), "%s: cannot be written", directory);
		err = -EIO;
	}
	db_close(&db);
	return err;
}

static int restore_copy(struct offline_work *w)
{
	char directory[DB_PATH_MAX + 16];

	if (db_exists(w->path) && !w->o->yes) {
		snprintf(w->error, sizeof(w->error),
			"%s: there is a store: with --yes its files are put aside as data.mdb" KEPT
			" and journal" KEPT " (to bring it back, both get their names again)",
			w->path);
		return -EEXIST;
	}
	work_directory(w, directory);
	int err = db_copy_file(w->beside, directory, w->error, sizeof(w->error));
	return err ? err : restore_check(w, directory);
}

static void at_shard(struct offline_work *w, unsigned i)
{
	const struct store_conf beside = {.path = w->o->directory ? w->o->directory : ""};

	w->shard = i;
	shards_path(&w->conf, i, w->path, sizeof(w->path));
	shards_path(&beside, i, w->beside, sizeof(w->beside));
}

/* All copies are where they are to be, and good, before the first of them becomes part of the
 * store. */
static int restore_all(struct offline_work *w)
{
	char directory[DB_PATH_MAX + 16];
	int err = 0;

	for (unsigned i = 0; i < w->count && !err; i++) {
		at_shard(w, i);
		err = restore_copy(w);
	}
	for (unsigned i = 0; i < w->count && !err; i++) {
		at_shard(w, i);
		work_directory(w, directory);
		err = db_replace(w->path, directory, KEPT, w->error, sizeof(w->error));
	}
	return err;
}

static void work_directories_clear(struct offline_work *w)
{
	char directory[DB_PATH_MAX + 16];

	for (unsigned i = 0; i < w->count; i++) {
		at_shard(w, i);
		work_directory(w, directory);
		db_copy_clear(directory);
	}
}

static int restore(struct offline_work *w)
{
	struct db locks[STORE_SHARDS_MAX];
	unsigned locked = 0;
	int err = 0;

	for (; locked < w->count && !err; locked += err == 0) {
		at_shard(w, locked);
		err = db_lock(&locks[locked], w->path, w->error, sizeof(w->error));
	}
	if (!err) {
		work_directories_clear(w);
		err = restore_all(w);
	}
	if (err && locked == w->count)
		work_directories_clear(w);
	while (locked)
		db_close(&locks[--locked]);
	return err ? fail(w) : done(NULL);
}

/* ---- all of them ---- */

static const struct offline_action {
	const char *name;
	int (*run)(struct offline_work *w, struct db *db); /* one shard; 0 or -errno with a text */
} actions[] = {
	{"check",   check_only},
	{"repair",  repair    },
	{"stat",    stat_show },
	{"compact", compact   },
	{"backup",  backup    },
};

static json_t *sums_json(const struct offline_work *w)
{
	const char *action = w->o->action;

	if (strcmp(action, "check") == 0 || strcmp(action, "repair") == 0)
		return totals_json(&w->totals);
	if (strcmp(action, "compact") == 0)
		return json_pack("{s:I, s:I}", "bytes_before", (json_int_t)w->bytes_before, "bytes",
			(json_int_t)w->bytes);
	return strcmp(action, "backup") == 0 ? json_pack("{s:I}", "bytes", (json_int_t)w->bytes)
					     : NULL;
}

static int run_shard(struct offline_work *w, const struct offline_action *a)
{
	struct db_shard want = shard_wanted(w);
	struct db db;
	int err = db_open_shard(
		&db, w->path, &want, w->conf.map_bytes, false, w->error, sizeof(w->error));

	if (err)
		return err;
	if (w->shard == 0)
		w->first = db.shard;
	err = a->run(w, &db);
	db_close(&db);
	return err;
}

static int run_open(struct offline_work *w)
{
	const struct offline_action *a = NULL;
	int err = 0;

	if (strcmp(w->o->action, "restore") == 0)
		return restore(w);
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (strcmp(actions[i].name, w->o->action) == 0)
			a = &actions[i];
	}
	if (!a) {
		snprintf(w->error, sizeof(w->error), "--store %s is unknown", w->o->action);
		return fail(w);
	}
	for (unsigned i = 0; i < w->count && !err; i++) {
		at_shard(w, i);
		err = run_shard(w, a);
	}
	return err ? fail(w) : done(sums_json(w));
}

static int directories_prepare(struct offline_work *w)
{
	int err = 0;

	for (unsigned i = 0; i < w->count && !err; i++) {
		at_shard(w, i);
		err = privileges_directory(&w->privileges, i ? "store.shard_paths" : "store.path",
			w->path, 0700, w->error, sizeof(w->error));
	}
	return err;
}

int offline_run(const struct offline *o)
{
	struct offline_work w = {.o = o};
	const struct config *config;

	bool needs_directory =
		strcmp(o->action, "backup") == 0 || strcmp(o->action, "restore") == 0;
	if (needs_directory != (o->directory != NULL)) {
		snprintf(w.error, sizeof(w.error), "--store %s %s", o->action,
			needs_directory ? "needs a directory" : "takes no directory");
		return fail(&w);
	}
	if (config_load(o->config_path, &config, w.error, sizeof(w.error)) < 0)
		return fail(&w);
	config_to_store(config, &w.conf);
	w.count = w.conf.shards;
	int err = privileges_find(&w.privileges, config->root.node.user, w.error, sizeof(w.error));
	if (!err)
		err = directories_prepare(&w);
	/* As the user that will run on it: no file may belong to another one. */
	if (!err)
		err = privileges_borrow(&w.privileges, w.error, sizeof(w.error));
	int status = err ? fail(&w) : run_open(&w);
	if (!err)
		privileges_return(&w.privileges);
	config_destroy(&config);
	return status;
}
