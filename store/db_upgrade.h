/* SPDX-License-Identifier: BSD-3-Clause
 * Bringing a store of an older format up to date.  Main thread, before anybody else. */
#pragma once
#include "store/db.h"

#define DB_UPGRADE_TABLES 2 /* of older formats, which go */

/* In the transaction that makes the tables an older format has not, and raises the format: from now
 * on older programs refuse the store, and whoever opens it goes on with the upgrade. */
int db_upgrade_begin(MDB_txn *txn, const struct db *db, uint64_t from) WARN_UNUSED;
/* Does what an upgrade that has begun has left to do, in transactions of bounded size.  All tables
 * are open.  0 or an LMDB code. */
int db_upgrade_finish(const struct db *db) WARN_UNUSED;
