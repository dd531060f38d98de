/* SPDX-License-Identifier: BSD-3-Clause
 * A disk after a power cut.  The log (disklog.h) is played up to some record; then an image is made
 * of what must be there (synced, or written through O_DSYNC) and, as chance has it, of what need
 * not: each write that no sync has covered may be there, be absent, or have reached the disk in
 * part, in sectors of 512 octets.
 *
 * The directory that is logged is a disk; each one below it (shard1/) is another, whose writes go
 * their own way: a fate for each disk. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

/* Reads the whole log.  NULL: it cannot be read, with a message on stderr. */
struct image *image_open(const char *log);
void image_close(struct image **i);
uint64_t image_records(const struct image *i);
/* Plays one more record; false: the end.  A mark gives its value, else *mark_r is UINT64_MAX. */
bool image_step(struct image *i, uint64_t *mark_r);
/* Writes that a crash now could undo. */
unsigned image_pending(const struct image *i);

/* Of the writes of a disk that no sync has covered, there are: none; all; each as chance has it,
 * and how likely is chance, too; parts of each; the last of each file; those before one of them,
 * which is torn; those behind it. */
enum image_fate {
	IMAGE_NONE,
	IMAGE_ALL,
	IMAGE_SOME,
	IMAGE_TORN,
	IMAGE_LAST,
	IMAGE_OLDER,
	IMAGE_YOUNGER,
	IMAGE_FATES
};
extern const char *const image_fate_names[IMAGE_FATES];

/* Writes the files as a crash now could leave them into a directory; those below it exist.  fates:
 * one for the files of the directory itself, one for those below it.  0 or -errno. */
int image_write(
	struct image *i, const char *directory, const enum image_fate fates[2], uint64_t seed);
