/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/image.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/crash/disklog.h"

#define FILES_MAX   64
#define PENDING_MAX 65536
#define SECTOR      512

struct pending {
	uint64_t offset, n;
	const uint8_t *octets;
	bool dsync, ended, synced; /* synced: by a sync that has begun */
};

struct file {
	char name[128];
	bool exists, durable_name; /* the name outlives a crash */
	uint8_t *octets;           /* what is on the disk for sure */
	uint64_t size, cap;
	struct pending *pending;
	unsigned pending_n;
};

struct image {
	const uint8_t *log;
	size_t log_n, at;
	uint64_t records;
	struct file files[FILES_MAX + 1];
};

const char *const image_fate_names[IMAGE_FATES] = {"none", "all", "some", "torn", "last"};

static void fatal(const char *what)
{
	fprintf(stderr, "image: %s\n", what);
	exit(3);
}

struct image *image_open(const char *log)
{
	struct image *i = calloc(1, sizeof(*i));
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (!i || fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0) {
		perror(log);
		exit(3);
	}
	i->log_n = (size_t)st.st_size;
	i->log = mmap(NULL, i->log_n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (i->log == MAP_FAILED)
		fatal("cannot map the log");
	close(fd);
	for (size_t at = 0; at + sizeof(struct disklog_record) <= i->log_n; i->records++) {
		struct disklog_record r;
		memcpy(&r, i->log + at, sizeof(r));
		at += sizeof(r) + r.n;
	}
	return i;
}

void image_close(struct image **ip)
{
	struct image *i = *ip;

	for (int f = 0; f <= FILES_MAX; f++) {
		free(i->files[f].octets);
		free(i->files[f].pending);
	}
	munmap((void *)(uintptr_t)i->log, i->log_n);
	free(i);
	*ip = NULL;
}

uint64_t image_records(const struct image *i)
{
	return i->records;
}

/* ---- what is on the disk ---- */

static void room(struct file *f, uint64_t n)
{
	if (n > f->cap) {
		uint64_t cap = f->cap ? f->cap : 1 << 20;
		while (cap < n)
			cap *= 2;
		f->octets = realloc(f->octets, cap);
		if (!f->octets)
			fatal("no memory");
		memset(f->octets + f->cap, 0, cap - f->cap);
		f->cap = cap;
	}
	if (n > f->size)
		f->size = n;
}

static void settle(struct file *f, const struct pending *p)
{
	room(f, p->offset + p->n);
	memcpy(f->octets + p->offset, p->octets, p->n);
}

static void write_begins(struct file *f, const struct disklog_record *r, const uint8_t *octets)
{
	if (!f->pending) {
		f->pending = calloc(PENDING_MAX, sizeof(*f->pending));
		if (!f->pending)
			fatal("no memory");
	}
	if (f->pending_n == PENDING_MAX)
		fatal("too many writes without a sync");
	f->pending[f->pending_n++] = (struct pending){
		.offset = r->offset, .n = r->n, .octets = octets, .dsync = r->value != 0};
}

/* The youngest write of the file that has not ended (one thread writes). */
static void write_ends(struct file *f, uint64_t result)
{
	unsigned last = f->pending_n - 1;

	if (f->pending_n == 0 || f->pending[last].ended)
		fatal("a write ends that has not begun");
	struct pending *p = &f->pending[last];
	p->ended = true;
	p->n = (int64_t)result < 0 ? 0 : result;
	if (!p->dsync)
		return;
	settle(f, p);
	f->pending_n--;
}

static void sync_begins(struct file *f)
{
	for (unsigned k = 0; k < f->pending_n; k++)
		f->pending[k].synced = f->pending[k].ended;
}

static void sync_ends(struct file *f, uint64_t result)
{
	unsigned kept = 0;

	for (unsigned k = 0; k < f->pending_n; k++) {
		struct pending *p = &f->pending[k];
		if (p->synced && result == 0)
			settle(f, p);
		else
			f->pending[kept++] = *p;
	}
	f->pending_n = kept;
}

/* ---- names ---- */

static struct file *named(struct image *i, const char *name)
{
	for (int f = 1; f <= FILES_MAX; f++) {
		if (i->files[f].exists && strcmp(i->files[f].name, name) == 0)
			return &i->files[f];
	}
	return NULL;
}

static void name_take(struct image *i, const struct disklog_record *r, const uint8_t *octets)
{
	struct file *f = &i->files[r->file];

	if (f->exists || r->n >= sizeof(f->name))
		return;
	memcpy(f->name, octets, r->n);
	f->exists = true;
	f->durable_name = r->type == DISKLOG_OPEN;
}

/* Only names that came by O_CREAT are told apart before and after a directory's sync. */
static void renamed(struct image *i, const char *names)
{
	struct file *from = named(i, names), *to = named(i, names + strlen(names) + 1);

	if (to)
		to->exists = false;
	if (from)
		snprintf(from->name, sizeof(from->name), "%s", names + strlen(names) + 1);
}

/* Is the file in that directory, itself and not below it? */
static bool is_in(const struct file *f, const uint8_t *directory, uint64_t n)
{
	const char *slash = strrchr(f->name, '/');

	if (n == 1 && directory[0] == '.')
		return !slash;
	return slash && (uint64_t)(slash - f->name) == n && memcmp(f->name, directory, n) == 0;
}

static void directory_synced(struct image *i, const uint8_t *directory, uint64_t n)
{
	for (int f = 1; f <= FILES_MAX; f++)
		i->files[f].durable_name |= i->files[f].exists && is_in(&i->files[f], directory, n);
}

bool image_step(struct image *i, uint64_t *mark_r)
{
	struct disklog_record r;

	*mark_r = UINT64_MAX;
	if (i->at + sizeof(r) > i->log_n)
		return false;
	memcpy(&r, i->log + i->at, sizeof(r));
	const uint8_t *octets = i->log + i->at + sizeof(r);
	i->at += sizeof(r) + r.n;
	struct file *f = &i->files[r.file <= FILES_MAX ? r.file : 0];
	switch ((enum disklog_type)r.type) {
	case DISKLOG_OPEN:
	case DISKLOG_CREATE:
		name_take(i, &r, octets);
		break;
	case DISKLOG_WRITE:
		write_begins(f, &r, octets);
		break;
	case DISKLOG_WRITE_END:
		write_ends(f, r.value);
		break;
	case DISKLOG_SYNC:
		sync_begins(f);
		break;
	case DISKLOG_SYNC_END:
		sync_ends(f, r.value);
		break;
	case DISKLOG_TRUNCATE:
		fatal("the store truncates a file: this is not modelled");
		break;
	case DISKLOG_RENAME:
		renamed(i, (const char *)octets);
		break;
	case DISKLOG_UNLINK:
		f->exists = false;
		break;
	case DISKLOG_DIRSYNC_END:
		directory_synced(i, octets, r.n);
		break;
	case DISKLOG_MARK:
		*mark_r = r.value;
		break;
	}
	return true;
}

unsigned image_pending(const struct image *i)
{
	unsigned n = 0;

	for (int f = 1; f <= FILES_MAX; f++)
		n += i->files[f].pending_n;
	return n;
}

/* ---- a crash ---- */

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 16;
}

/* Which of a write's sectors are there. */
static bool sector_is_there(enum image_fate fate, bool last, bool whole, uint64_t *random)
{
	switch (fate) {
	case IMAGE_ALL:
		return true;
	case IMAGE_SOME:
		return whole;
	case IMAGE_TORN:
		return rnd(random) & 1;
	case IMAGE_LAST:
		return last;
	default:
		return false;
	}
}

static int put(int fd, const uint8_t *p, uint64_t n, uint64_t at)
{
	while (n) {
		ssize_t w = pwrite(fd, p, n, (off_t)at);
		if (w <= 0)
			return w < 0 ? -errno : -EIO;
		p += w;
		n -= (uint64_t)w;
		at += (uint64_t)w;
	}
	return 0;
}

static int pending_put(
	int fd, const struct pending *p, enum image_fate fate, bool last, uint64_t *random)
{
	bool whole = rnd(random) & 1;
	int err = 0;

	for (uint64_t at = 0; at < p->n && !err;) {
		/* Sectors of the disk, wherever the write begins. */
		uint64_t n = SECTOR - (p->offset + at) % SECTOR;
		n = n < p->n - at ? n : p->n - at;
		if (sector_is_there(fate, last, whole, random))
			err = put(fd, p->octets + at, n, p->offset + at);
		at += n;
	}
	return err;
}

static int file_write(
	const struct file *f, const char *directory, enum image_fate fate, uint64_t *random)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", directory, f->name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int err = put(fd, f->octets, f->size, 0);
	for (unsigned k = 0; k < f->pending_n && !err; k++)
		err = pending_put(fd, &f->pending[k], fate, k + 1 == f->pending_n, random);
	/* The length is another thing that may be there before its octets. */
	if (!err && f->pending_n && rnd(random) & 1) {
		const struct pending *p = &f->pending[f->pending_n - 1];
		struct stat st;
		if (fstat(fd, &st) == 0 && (uint64_t)st.st_size < p->offset + p->n &&
			ftruncate(fd, (off_t)(p->offset + p->n)) < 0)
			err = -errno;
	}
	close(fd);
	return err;
}

int image_write(
	struct image *i, const char *directory, const enum image_fate fates[2], uint64_t seed)
{
	uint64_t random = (seed + 1) * 0x9e3779b97f4a7c15ull;
	int err = 0;

	for (int f = 1; f <= FILES_MAX && !err; f++) {
		const struct file *file = &i->files[f];
		/* A name that no sync of the directory has covered: as chance has it. */
		if (file->exists && (file->durable_name || rnd(&random) & 1))
			err = file_write(
				file, directory, fates[strchr(file->name, '/') != NULL], &random);
	}
	return err;
}
