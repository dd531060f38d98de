/* SPDX-License-Identifier: BSD-3-Clause
 * Goodput of one connection over links that lose, mark or are narrow, against what theory says. */
#pragma once
#include <stdbool.h>

/* Print the table.  Returns false when a row is below what it must reach. */
bool goodput_run(void);
