/* SPDX-License-Identifier: BSD-3-Clause
 * A directory whose disk is logged by the process itself (disklog.h, linked), and the disks that a
 * power cut would have left of it. */
#pragma once
#include "tests/crash/image.h"

struct disk {
	char dir[64], log[72], cut[64];
};

/* An empty directory; aborts when there is none to be had. */
void disk_begin(struct disk *d);
/* No file of it is open. */
void disk_end(struct disk *d);
/* Records of the log until now. */
uint64_t disk_records(const struct disk *d);
/* A power cut after so many records (UINT64_MAX: now): makes the directory d->cut. */
void disk_cut(struct disk *d, uint64_t records, enum image_fate fate, uint64_t seed);
/* Removes it. */
void disk_cut_end(struct disk *d);
