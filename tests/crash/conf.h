/* SPDX-License-Identifier: BSD-3-Clause
 * What makes checkpoints, slots of the journal that are used again, and bodies that leave them
 * happen all the time in a short run.  The programs here are linked with a store whose slots are
 * small, too (JOURNAL_SLOT in meson.build). */
#pragma once

#define CRASH_GROUP      (64ull << 10)
#define CRASH_CHECKPOINT (448ull << 10)
#define CRASH_SPARE      (256ull << 10)
