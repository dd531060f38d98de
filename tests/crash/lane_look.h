/* SPDX-License-Identifier: BSD-3-Clause
 * Does a store hold exactly what a lane has left there? */
#pragma once
#include "store/body.h"
#include "tests/crash/lane.h"

#define LANE_WHY_MAX 256

/* False: why says the first difference. */
bool lane_look(const struct db *db, MDB_txn *txn, const struct lane *lane, char why[LANE_WHY_MAX]);
