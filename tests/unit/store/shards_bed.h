/* SPDX-License-Identifier: BSD-3-Clause
 * A store of several shards for a test: all of them in a folder of their own, with or without the
 * courier, and the test as the only requester.  What fails ends the test. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "store/courier_priv.h"
#include "store/shards.h"
#include "store/store_priv.h"

#define SHARDS_MAX  3
#define ACCOUNTS    12
#define BODY_LARGE  (700 * 1024)
#define BED_WAIT_US (60 * US_PER_SEC)

extern struct bed {
	char dir[256];
	struct store_conf conf;
	unsigned count;
	struct shards *shards;             /* with the courier */
	struct directory_table *directory; /* without */
	struct courier *courier;           /* without, but one that the test drives */
	struct store *store[SHARDS_MAX];
	struct waker waker;
	struct channel writers[SHARDS_MAX], readers[SHARDS_MAX];
	struct hints ready[SHARDS_MAX];
	struct ids ids;
	uint32_t account[ACCOUNTS];
} bed;

void bed_init(unsigned count);
void bed_fini(void);
/* A file of shard i. */
void bed_path(unsigned i, const char *file, char out[300]);
void bed_open(void);
void bed_close(void);
/* The same without anybody who moves anything: the test does it, step by step. */
void bed_open_still(void);
void bed_close_still(void);

/* Runs an op to its end; returns its status. */
int bed_run(struct channel *c, struct op *op, unsigned kind);
void bed_done(struct op *op);
const char *bed_user(unsigned i);
unsigned bed_home(const char *address);
uint32_t bed_account(const char *address);
void bed_accounts(void);
uint64_t bed_id_in(unsigned shard);
struct message *bed_message(uint64_t id, size_t n);
void bed_rcpt(struct message *m, const char *address, uint8_t notify);
int bed_accept(struct message *m);

/* Messages in an account's INBOX; the octets of each are looked at. */
unsigned bed_inbox(uint32_t account);
uint64_t bed_rows_in(unsigned shard, enum db_id id);
uint64_t bed_rows(enum db_id id);
/* Until nothing is on its way. */
void bed_settle(void);
/* Every row of every shard is what the check wants; the store is closed. */
void bed_check(void);
uint64_t bed_random(uint64_t *x);
