/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/disk.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/check.h"
#include "tests/crash/disklog.h"

static void directory_make(char name[64], const char *what)
{
	const char *tmp = getenv("TMPDIR");

	BUG_ON(snprintf(name, 64, "%s/bypost-%s-XXXXXX", tmp ? tmp : "/tmp", what) >= 64);
	BUG_ON(!mkdtemp(name));
}

static void directory_remove(const char *name)
{
	DIR *d = opendir(name);
	const struct dirent *e;
	char path[400];

	BUG_ON(!d);
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", name, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	closedir(d);
	rmdir(name);
}

void disk_begin(struct disk *d)
{
	directory_make(d->dir, "disk");
	snprintf(d->log, sizeof(d->log), "%s.log", d->dir);
	disklog_begin(d->log, d->dir);
}

void disk_end(struct disk *d)
{
	disklog_end();
	unlink(d->log);
	directory_remove(d->dir);
}

uint64_t disk_records(const struct disk *d)
{
	struct image *i = image_open(d->log);
	uint64_t n = image_records(i);

	image_close(&i);
	return n;
}

void disk_cut(struct disk *d, uint64_t records, enum image_fate fate, uint64_t seed)
{
	const enum image_fate fates[2] = {fate, fate};
	struct image *i = image_open(d->log);
	uint64_t mark;

	while (records-- && image_step(i, &mark)) {
	}
	directory_make(d->cut, "cut");
	BUG_ON(image_write(i, d->cut, fates, seed));
	image_close(&i);
}

void disk_cut_end(struct disk *d)
{
	directory_remove(d->cut);
}
