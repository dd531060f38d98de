/* SPDX-License-Identifier: BSD-3-Clause
 * All shards together.  Main thread, but for what says otherwise. */
#include "store/shards.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "store/courier.h"
#include "store/store_priv.h"

#define HOLD_US                                                                                    \
	(2 * US_PER_SEC) /* chosen: a commit under way takes no longer, or its disk fails          \
			  */

struct shards {
	unsigned count, started, copying;
	uint32_t backup_running; /* bit i: shard i is being copied */
	uint64_t backup_octets;
	char backup_error[512];
	struct directory_table *directory;
	struct store *store[STORE_SHARDS_MAX];
	struct courier *courier; /* NULL: one shard */
	bool courier_started;
};

void shards_path(const struct store_conf *conf, unsigned i, char *out, size_t cap)
{
	if (i == 0)
		snprintf(out, cap, "%s", conf->path);
	else if (conf->paths)
		snprintf(out, cap, "%s", conf->paths[i - 1]);
	else
		snprintf(out, cap, "%s/shard%u", conf->path, i);
}

/* A disk that is not mounted must not look like a new store. */
static int first_exists(const struct store_conf *conf, unsigned count, char *error, size_t error_n)
{
	char path[DB_PATH_MAX];

	if (db_exists(conf->path))
		return 0;
	for (unsigned i = 1; i < count; i++) {
		shards_path(conf, i, path, sizeof(path));
		if (!db_exists(path))
			continue;
		snprintf(error, error_n,
			"store.path %s: shard 0 of the store is not here, but shard %u is in %s: "
			"is "
			"its disk mounted?",
			conf->path, i, path);
		return -ENOENT;
	}
	return 0;
}

static int open_one(
	struct shards *s, const struct store_conf *conf, unsigned i, char *error, size_t error_n)
{
	const struct db_shard *first = i ? &s->store[0]->db.shard : NULL;
	struct db_shard shard = {.number = i, .count = s->count};
	struct store_conf own = *conf;
	char path[DB_PATH_MAX];

	shards_path(conf, i, path, sizeof(path));
	own.path = path;
	if (first) {
		shard.set = first->set;
		shard.must_exist = first->whole;
	}
	int err = store_open_shard(&own, &shard, s->directory, &s->store[i], error, error_n);
	if (err == 0)
		s->store[i]->shards = s->store;
	return err;
}

static int open_all(struct shards *s, const struct store_conf *conf, char *error, size_t error_n)
{
	int err = first_exists(conf, s->count, error, error_n);

	for (unsigned i = 0; i < s->count && !err; i++)
		err = open_one(s, conf, i, error, error_n);
	if (err || s->count == 1 || s->store[0]->db.shard.whole)
		return err;
	if (db_shard_whole(&s->store[0]->db) == 0)
		return 0;
	snprintf(error, error_n, "store.path %s: cannot be written", conf->path);
	return -EIO;
}

int shards_open(
	const struct store_conf *conf, struct shards **shards_r, char *error, size_t error_n)
{
	struct shards *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	*shards_r = NULL;
	snprintf(error, error_n, "store.path %s: out of memory", conf->path);
	if (!s)
		return err;
	s->count = MAX(MIN(conf->shards, (uint32_t)STORE_SHARDS_MAX), 1u);
	s->directory =
		directory_create(conf->local_domains, conf->local_domain_count, conf->extension);
	if (s->directory) {
		directory_set_writers(s->directory, s->count);
		err = open_all(s, conf, error, error_n);
	}
	if (err == 0 && s->count > 1) {
		s->courier = courier_create(s->store, s->count);
		err = s->courier ? 0 : -ENOMEM;
	}
	if (err < 0)
		shards_close(&s);
	*shards_r = s;
	return err;
}

unsigned shards_count(const struct shards *s)
{
	return s->count;
}

struct store *shards_get(const struct shards *s, unsigned i)
{
	BUG_ON(i >= s->count);
	return s->store[i];
}

int shards_start(struct shards *s)
{
	int err = 0;

	while (s->started < s->count && !err) {
		err = store_start(s->store[s->started]);
		s->started += err == 0;
	}
	if (!err && s->courier) {
		err = courier_start(s->courier);
		s->courier_started = err == 0;
	}
	if (err)
		shards_stop(s);
	return err;
}

void shards_stop(struct shards *s)
{
	/* First: what it has under way comes back. */
	if (s->courier_started)
		courier_stop(s->courier);
	s->courier_started = false;
	while (s->started)
		store_stop(s->store[--s->started]);
}

void shards_close(struct shards **sp)
{
	struct shards *s = *sp;

	if (!s)
		return;
	shards_stop(s);
	courier_destroy(&s->courier);
	for (unsigned i = 0; i < STORE_SHARDS_MAX; i++)
		store_close(&s->store[i]);
	directory_destroy(&s->directory);
	free(s);
	*sp = NULL;
}

const struct directory *shards_directory(const struct shards *s)
{
	return directory_public(s->directory);
}

const uint8_t *shards_secret(const struct shards *s)
{
	return store_secret(s->store[0]);
}

uint64_t shards_last_id(const struct shards *s)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < s->count; i++)
		last = MAX(last, store_last_id(s->store[i]));
	return last;
}

const atomic_uint *shards_health(const struct shards *s, unsigned i)
{
	return &shards_get(s, i)->health;
}

void shards_get_info(const struct shards *s, struct store_info *info_r)
{
	store_get_info(s->store[0], info_r);
	for (unsigned i = 1; i < s->count; i++) {
		struct store_info one;
		store_get_info(s->store[i], &one);
		info_r->health = MAX(info_r->health, one.health);
		info_r->file_bytes += one.file_bytes;
		info_r->disk_free_bytes = MIN(info_r->disk_free_bytes, one.disk_free_bytes);
		info_r->reserve_bytes = MAX(info_r->reserve_bytes, one.reserve_bytes);
		info_r->queued_messages += one.queued_messages;
		info_r->queued_recipients += one.queued_recipients;
		info_r->accounts += one.accounts;
		info_r->group_mean = MAX(info_r->group_mean, one.group_mean);
	}
}

/* ---- backup ---- */

static void backup_cancel(struct shards *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->backup_running & 1u << i)
			store_backup_cancel(s->store[i]);
	}
}

/* Mail that leaves one shard after that has been copied, and comes to another before that is, would
 * be in both copies; the other way round in none.  So nothing leaves until all copies have begun.
 */
static bool hold(struct shards *s)
{
	uint64_t end = clock_mono_us() + HOLD_US;

	courier_hold(s->courier, true);
	while (!courier_is_still(s->courier) && clock_mono_us() < end)
		usleep(500);
	return courier_is_still(s->courier);
}

static void hold_end(struct shards *s)
{
	bool begun = true;

	for (unsigned i = 0; i < s->count; i++) {
		if (s->backup_running & 1u << i)
			begun &= store_backup_begun(s->store[i]);
	}
	if (s->courier && begun)
		courier_hold(s->courier, false);
}

int shards_backup_start(
	struct shards *s, const char *directory, uint64_t growth_max, char *error, size_t error_n)
{
	const struct store_conf to = {.path = directory};
	char path[DB_PATH_MAX];
	int err = 0;

	if (s->backup_running) {
		snprintf(error, error_n, "a backup is under way");
		return -EBUSY;
	}
	s->backup_octets = 0;
	s->backup_error[0] = '\0';
	if (s->courier && !hold(s)) {
		courier_hold(s->courier, false);
		snprintf(error, error_n, "a shard of the store does not answer");
		return -EBUSY;
	}
	for (unsigned i = 0; i < s->count && !err; i++) {
		shards_path(&to, i, path, sizeof(path));
		err = store_backup_start(s->store[i], path, growth_max, error, error_n);
		s->backup_running |= err ? 0 : 1u << i;
	}
	if (!s->backup_running)
		hold_end(s);
	if (!err || !s->backup_running)
		return err;
	/* Those that have begun are told to end; what is said is why. */
	snprintf(s->backup_error, sizeof(s->backup_error), "%s", error);
	backup_cancel(s);
	return 0;
}

int shards_backup_poll(struct shards *s, uint64_t *octets_r, char *error, size_t error_n)
{
	hold_end(s);
	*octets_r = s->backup_octets;
	for (unsigned i = 0; i < s->count; i++) {
		char text[sizeof(s->backup_error)];
		uint64_t octets;
		if (!(s->backup_running & 1u << i))
			continue;
		int state = store_backup_poll(s->store[i], &octets, text, sizeof(text));
		*octets_r += octets;
		if (state == 1)
			continue;
		s->backup_running &= ~(1u << i);
		s->backup_octets += octets;
		if (state < 0 && !s->backup_error[0]) {
			memcpy(s->backup_error, text, sizeof(text));
			backup_cancel(s);
		}
	}
	if (s->backup_running)
		return 1;
	hold_end(s);
	snprintf(error, error_n, "%s", s->backup_error);
	return s->backup_error[0] ? -1 : 0;
}
