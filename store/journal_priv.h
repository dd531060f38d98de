/* SPDX-License-Identifier: BSD-3-Clause
 * What journal.c and journal_slot.c share. */
#pragma once
#include "store/journal.h"

/* There are so many slots from now on.  0 or ENOMEM. */
int journal_slots_grow(struct journal *j, uint32_t count) WARN_UNUSED;
/* Blocks up to `end` of the slot that is written, so that no write lacks any.  0 or an errno. */
int journal_allocate(struct journal *j, uint64_t end) WARN_UNUSED;
