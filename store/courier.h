/* SPDX-License-Identifier: BSD-3-Clause
 * The courier: the thread that takes local mail from the shard that accepted it to the shard of its
 * mailbox (the three transactions: writer_move.c).  It is a requester of all readers and writers
 * like a core is, touches no environment itself, and keeps nothing that is not in the store: after
 * a crash it finds in `move` what is still to be brought and in `dedup` what is still to be
 * forgotten. A store of one shard has none. */
#pragma once
#include "store/store_priv.h"

struct courier;

/* store: all shards, not started yet; their channels are added.  NULL: no memory. */
struct courier *courier_create(struct store *const *store, unsigned count);
int courier_start(struct courier *c) WARN_UNUSED;
/* Lets what is under way come back, begins nothing; the writers and readers still run. */
void courier_stop(struct courier *c);
void courier_destroy(struct courier **c);
/* While it is held no recipient leaves the shard it was accepted in: copies of all shards that
 * begin meanwhile have every message at least once between them. */
void courier_hold(struct courier *c, bool hold);
/* Nothing is leaving since courier_hold. */
bool courier_is_still(const struct courier *c);
