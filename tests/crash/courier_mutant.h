/* SPDX-License-Identifier: BSD-3-Clause
 * Stores that are wrong on purpose, to prove that the look at their disks notices. */
#pragma once
#include "store/store.h"

/* False: there is none of that name.  courier_mutant.c, or courier_mutant_none.c. */
bool mutant_choose(const char *name, struct store_conf *conf);
