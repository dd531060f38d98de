/* SPDX-License-Identifier: BSD-3-Clause
 * The store as it is: see courier_mutant.c for the others. */
#include "tests/crash/courier_mutant.h"

bool mutant_choose(const char *name, struct store_conf *conf)
{
	(void)name;
	(void)conf;
	return false;
}
