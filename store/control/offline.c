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

#define KEPT "data.mdb.replaced" /* the store that a restore put aside */

struct offline_work {
	const struct offline *o;
	struct store_conf conf;
	struct privileges privileges;
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

/* ---- check ---- */

static void problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	print(json_pack("{s:s, s:s, s:s, s:b, s:b}", "problem", p->what, "object", p->object,
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

static int check(struct offline_work *w, struct db *db, bool repair)
{
	struct check *c =
		check_create(&(struct check_conf){.db = db, .repair = repair, .problem = problem});
	int err = c ? check_run(c, db, repair) : -ENOMEM;

	if (err) {
		snprintf(w->error, sizeof(w->error), "%s: the check ended: %s", db->path,
			strerror(-err));
		check_destroy(&c);
		return fail(w);
	}
	json_t *totals = totals_json(check_totals(c));
	check_destroy(&c);
	return done(totals);
}

/* ---- stat ---- */

static int stat_show(struct offline_work *w, struct db *db)
{
	int rc = 0;

	print(json_pack("{s:I, s:I, s:I, s:I, s:I}", "file_bytes", (json_int_t)db_file_bytes(db),
		"used_bytes", (json_int_t)db_used_bytes(db), "free_bytes",
		(json_int_t)db_free_bytes(db, UINT64_MAX), "map_bytes", (json_int_t)db->map_bytes,
		"format", (json_int_t)STORE_FORMAT));
	for (int id = 0; !rc && id < DB_N; id++) {
		struct db_table t;
		rc = db_table_look(db, (enum db_id)id, &t);
		if (!rc)
			print(json_pack("{s:s, s:I, s:I, s:I}", "table", t.name, "rows",
				(json_int_t)t.rows, "bytes", (json_int_t)t.pages * 4096, "depth",
				(json_int_t)t.depth));
	}
	if (!rc)
		return done(NULL);
	snprintf(w->error, sizeof(w->error), "%s: cannot be read", db->path);
	return fail(w);
}

/* ---- backup, compact, restore ---- */

static int backup(struct offline_work *w, struct db *db)
{
	struct db_backup *b;
	uint64_t octets;

	if (db_backup_start(db, w->o->directory, UINT64_MAX / 2, &b, w->error, sizeof(w->error)) <
		0)
		return fail(w);
	db_backup_wait(b);
	bool copied = db_backup_poll(b, &octets) == DB_BACKUP_DONE;
	snprintf(w->error, sizeof(w->error), "%s", db_backup_error(b));
	db_backup_destroy(&b);
	return copied ? done(json_pack("{s:I}", "bytes", (json_int_t)octets)) : fail(w);
}

static void work_directory(const struct offline_work *w, char out[DB_PATH_MAX + 16])
{
	snprintf(out, DB_PATH_MAX + 16, "%.*s/new", DB_PATH_MAX, w->conf.path);
}

/* Left over from an attempt that was ended. */
static void work_directory_clear(const char *directory)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
	char path[DB_PATH_MAX + 64];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

static int compact(struct offline_work *w, struct db *db)
{
	char directory[DB_PATH_MAX + 16];
	uint64_t before = db_file_bytes(db);

	work_directory(w, directory);
	work_directory_clear(directory);
	int err = db_rewrite(db, directory, w->error, sizeof(w->error));
	/* The lock is kept: nobody may open the store between the two. */
	if (!err) {
		db_close_env(db);
		err = db_replace(w->conf.path, directory, NULL, w->error, sizeof(w->error));
	}
	if (err) {
		work_directory_clear(directory);
		return fail(w);
	}
	return done(json_pack("{s:I, s:I}", "bytes_before", (json_int_t)before, "bytes",
		(json_int_t)db_file_bytes(db)));
}

/* The copy is looked over where it lies before it becomes the store. */
static int restore_check(struct offline_work *w, const char *directory)
{
	struct db db;
	int err = db_open(&db, directory, w->conf.map_bytes, false, w->error, sizeof(w->error));

	if (err)
		return err;
	struct check *c = check_create(&(struct check_conf){.db = &db, .problem = problem});
	err = c ? check_run(c, &db, false) : -ENOMEM;
	if (err)
		snprintf(w->error, sizeof(w->error), "%s: cannot be checked: %s", w->o->directory,
			strerror(-err));
	check_destroy(&c);
	db_close(&db);
	return err;
}

static int restore(struct offline_work *w)
{
	char directory[DB_PATH_MAX + 16], name[DB_PATH_MAX + 16];
	struct db lock;

	if (db_lock(&lock, w->conf.path, w->error, sizeof(w->error)) < 0)
		return fail(w);
	work_directory(w, directory);
	work_directory_clear(directory);
	snprintf(name, sizeof(name), "%.*s/data.mdb", DB_PATH_MAX, w->conf.path);
	int err = 0;
	if (access(name, F_OK) == 0 && !w->o->yes) {
		snprintf(w->error, sizeof(w->error),
			"%s: there is a store: with --yes it is put aside as " KEPT, w->conf.path);
		err = -EEXIST;
	}
	if (!err)
		err = db_copy_file(w->o->directory, directory, w->error, sizeof(w->error));
	if (!err)
		err = restore_check(w, directory);
	if (!err)
		err = db_replace(w->conf.path, directory, KEPT, w->error, sizeof(w->error));
	if (err)
		work_directory_clear(directory);
	db_close(&lock);
	return err ? fail(w) : done(NULL);
}

/* ---- all of them ---- */

static int run_open(struct offline_work *w)
{
	const char *action = w->o->action;
	struct db db;
	int status;

	if (strcmp(action, "restore") == 0)
		return restore(w);
	if (db_open(&db, w->conf.path, w->conf.map_bytes, false, w->error, sizeof(w->error)) < 0)
		return fail(w);
	if (strcmp(action, "check") == 0 || strcmp(action, "repair") == 0)
		status = check(w, &db, action[0] == 'r');
	else if (strcmp(action, "stat") == 0)
		status = stat_show(w, &db);
	else if (strcmp(action, "compact") == 0)
		status = compact(w, &db);
	else if (strcmp(action, "backup") == 0)
		status = backup(w, &db);
	else {
		snprintf(w->error, sizeof(w->error), "--store %s is unknown", action);
		status = fail(w);
	}
	db_close(&db);
	return status;
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
	int err = privileges_find(&w.privileges, config->root.node.user, w.error, sizeof(w.error));
	if (!err)
		err = privileges_directory(
			&w.privileges, "store.path", w.conf.path, 0700, w.error, sizeof(w.error));
	/* As the user that will run on it: no file may belong to another one. */
	if (!err)
		err = privileges_borrow(&w.privileges, w.error, sizeof(w.error));
	int status = err ? fail(&w) : run_open(&w);
	if (!err)
		privileges_return(&w.privileges);
	config_destroy(&config);
	return status;
}
