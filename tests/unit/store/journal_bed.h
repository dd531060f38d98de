/* SPDX-License-Identifier: BSD-3-Clause
 * A journal by itself in a temporary directory, for the one test program that includes this. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include "store/journal.h"

static char dir[64];
static struct journal *j;

static inline int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/bypost-journal-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static inline int teardown(void **state)
{
	char command[128];

	(void)state;
	journal_close(&j);
	snprintf(command, sizeof(command), "rm -r '%s'", dir);
	return system(command);
}

static inline void open_journal(void)
{
	assert_int_equal(journal_open(&j, dir, false), 0);
	j->number = 1;
	journal_begin(j);
}
