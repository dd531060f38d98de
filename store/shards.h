/* SPDX-License-Identifier: BSD-3-Clause
 * The store as a whole: one to STORE_SHARDS_MAX shards, each an environment with a writer and
 * readers of its own (store.h), possibly on disks of their own.
 *
 * Where something lies is a function of its number, fixed when the store is made (the environments
 * know how many they are and which one each is): a queued message in the shard of its id
 * (ids_lane), an account with its name, password and mailboxes, and an alias, in the shard of the
 * address (store_address_shard), which is also that of the number (store_account_shard); the
 * domains in shard 0.  Local recipients of another shard go there by the courier (courier.h). */
#pragma once
#include "store/store.h"

struct shards;

/* Opens or makes all of them.  On failure nothing is left open; the text names path or key.  Main
 * thread. */
int shards_open(const struct store_conf *conf, struct shards **shards_r, char *error,
	size_t error_n) WARN_UNUSED;
/* Directory of shard i, into out. */
void shards_path(const struct store_conf *conf, unsigned i, char *out, size_t cap);
unsigned shards_count(const struct shards *s);
struct store *shards_get(const struct shards *s, unsigned i);
int shards_start(struct shards *s) WARN_UNUSED;
/* Finishes what is on the rings, commits, ends the threads. */
void shards_stop(struct shards *s);
void shards_close(struct shards **s);

const struct directory *shards_directory(const struct shards *s);
/* store_secret of the whole store. */
const uint8_t *shards_secret(const struct shards *s);
/* Highest id ever stored in any of them. */
uint64_t shards_last_id(const struct shards *s);
/* enum store_health of one, for whoever only wants to know this. */
const atomic_uint *shards_health(const struct shards *s, unsigned i);
/* Sums; health is that of the worst, disk_free_bytes of the fullest.  Any thread. */
void shards_get_info(const struct shards *s, struct store_info *info_r);

/* As store_backup_start, each shard into directory/shard<i> but shard 0 into the directory itself.
 * Main thread; one at a time. */
int shards_backup_start(struct shards *s, const char *directory, uint64_t growth_max, char *error,
	size_t error_n) WARN_UNUSED;
int shards_backup_poll(struct shards *s, uint64_t *octets_r, char *error, size_t error_n);
