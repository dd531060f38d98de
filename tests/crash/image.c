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
#define SYNCS_MAX   8 /* of one file at the same time */
#define SECTOR      512
#define HOLE_MAX    (16u << 20)

static const uint8_t zeros[HOLE_MAX];

struct pending {
	uint64_t offset, n;
	const uint8_t *octets; /* NULL: none, the file only becomes as long */
	uint64_t began, ended; /* at which record of the log; ended 0: not yet */
	bool dsync;
};

struct sync {
	uint64_t thread, began; /* began 0: none */
};

struct file {
	char name[128];
	bool exists, durable_name; /* the name outlives a crash */
	uint8_t *octets;           /* what is on the disk for sure */
	uint64_t size, cap;
	struct pending *pending;
	unsigned pending_n;
	struct sync syncs[SYNCS_MAX];
};

struct image {
	const uint8_t *log;
	size_t log_n, at;
	uint64_t records, now; /* now: which one is played */
	struct file files[FILES_MAX + 1];
};

const char *const image_fate_names[IMAGE_FATES] = {
	"none", "all", "some", "torn", "last", "older", "younger"};

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
	if (p->octets)
		memcpy(f->octets + p->offset, p->octets, p->n);
}

static struct pending *pending_add(struct file *f)
{
	if (!f->pending) {
		f->pending = calloc(PENDING_MAX, sizeof(*f->pending));
		if (!f->pending)
			fatal("no memory");
	}
	if (f->pending_n == PENDING_MAX)
		fatal("too many writes without a sync");
	return &f->pending[f->pending_n++];
}

static void write_begins(
	struct image *i, struct file *f, const struct disklog_record *r, const uint8_t *octets)
{
	*pending_add(f) = (struct pending){.offset = r->offset,
		.n = r->n,
		.octets = octets,
		.began = i->now,
		.dsync = r->value != 0};
}

/* Blocks that are allocated are zeros until they are written; and only the length is not there
 * before a sync. */
static void allocated(struct image *i, struct file *f, uint64_t size)
{
	*pending_add(f) = (struct pending){.offset = size, .began = i->now, .ended = i->now};
}

/* It is there, in part or not at all before a sync. */
static void hole(struct image *i, struct file *f, const struct disklog_record *r)
{
	if (r->value > HOLE_MAX)
		fatal("a hole beyond what is known of zeros");
	*pending_add(f) = (struct pending){.offset = r->offset,
		.n = r->value,
		.octets = zeros,
		.began = i->now,
		.ended = i->now};
}

/* The youngest write at that place that has not ended: several threads write, but not to one. */
static struct pending *pending_find(const struct file *f, uint64_t offset)
{
	for (unsigned k = f->pending_n; k-- > 0;) {
		if (!f->pending[k].ended && f->pending[k].offset == offset)
			return &f->pending[k];
	}
	fatal("a write ends that has not begun");
	return NULL;
}

static void write_ends(struct image *i, struct file *f, uint64_t offset, uint64_t result)
{
	struct pending *p = pending_find(f, offset);

	p->ended = i->now;
	p->n = (int64_t)result < 0 ? 0 : result;
	if (!p->dsync)
		return;
	settle(f, p);
	f->pending_n--;
	memmove(p, p + 1, (size_t)(f->pending + f->pending_n - p) * sizeof(*p));
}

static void sync_begins(struct image *i, struct file *f, uint64_t thread)
{
	for (unsigned k = 0; k < SYNCS_MAX; k++) {
		if (f->syncs[k].began)
			continue;
		f->syncs[k] = (struct sync){thread, i->now};
		return;
	}
	fatal("too many syncs at once");
}

/* What had ended before it began is there. */
static void sync_ends(struct file *f, uint64_t thread, uint64_t result)
{
	struct sync *s = f->syncs;
	unsigned kept = 0;

	while (s < f->syncs + SYNCS_MAX && (!s->began || s->thread != thread))
		s++;
	if (s == f->syncs + SYNCS_MAX)
		fatal("a sync ends that has not begun");
	for (unsigned k = 0; k < f->pending_n; k++) {
		struct pending *p = &f->pending[k];
		if (p->ended && p->ended < s->began && result == 0)
			settle(f, p);
		else
			f->pending[kept++] = *p;
	}
	f->pending_n = kept;
	s->began = 0;
}

/* A file that is empty is made empty: nothing else is modelled. */
static void truncated(const struct file *f, uint64_t size)
{
	if (f->size || f->pending_n || size)
		fatal("the store truncates a file: this is not modelled");
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
	i->now++;
	struct file *f = &i->files[r.file <= FILES_MAX ? r.file : 0];
	switch ((enum disklog_type)r.type) {
	case DISKLOG_OPEN:
	case DISKLOG_CREATE:
		name_take(i, &r, octets);
		break;
	case DISKLOG_WRITE:
		write_begins(i, f, &r, octets);
		break;
	case DISKLOG_WRITE_END:
		write_ends(i, f, r.offset, r.value);
		break;
	case DISKLOG_SYNC:
		sync_begins(i, f, r.offset);
		break;
	case DISKLOG_SYNC_END:
		sync_ends(f, r.offset, r.value);
		break;
	case DISKLOG_TRUNCATE:
		truncated(f, r.value);
		break;
	case DISKLOG_HOLE:
		hole(i, f, &r);
		break;
	case DISKLOG_ALLOCATE:
		allocated(i, f, r.value);
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

/* What of the writes that need not be there is there. */
struct crash {
	enum image_fate fate;
	uint64_t cut;    /* record of the log: older and younger are told apart by it */
	unsigned chance; /* of 8: how many of some, or of torn ones' sectors, are there */
	uint64_t *random;
};

static bool write_is_there(const struct crash *c, const struct pending *p, bool last)
{
	switch (c->fate) {
	case IMAGE_ALL:
	case IMAGE_TORN:
		return true;
	case IMAGE_SOME:
		return rnd(c->random) % 8 < c->chance;
	case IMAGE_LAST:
		return last;
	case IMAGE_OLDER:
		return p->began <= c->cut;
	case IMAGE_YOUNGER:
		return p->began >= c->cut;
	default:
		return false;
	}
}

static void pending_put(
	const struct crash *c, const struct pending *p, bool last, uint8_t *octets, uint64_t *size)
{
	uint64_t n;

	if (!write_is_there(c, p, last))
		return;
	/* The one at the cut is on its way. */
	bool torn = c->fate == IMAGE_TORN || p->began == c->cut;
	for (uint64_t at = 0; at < p->n; at += n) {
		/* Sectors of the disk, wherever the write begins. */
		n = SECTOR - (p->offset + at) % SECTOR;
		n = n < p->n - at ? n : p->n - at;
		if (torn && rnd(c->random) % 8 >= c->chance)
			continue;
		memcpy(octets + p->offset + at, p->octets + at, n);
		*size = *size > p->offset + at + n ? *size : p->offset + at + n;
	}
	if (!p->octets && *size < p->offset)
		*size = p->offset;
}

static int put(int fd, const uint8_t *p, uint64_t n)
{
	for (uint64_t at = 0; at < n;) {
		ssize_t w = pwrite(fd, p + at, n - at, (off_t)at);
		if (w <= 0)
			return w < 0 ? -errno : -EIO;
		at += (uint64_t)w;
	}
	return 0;
}

/* The file's octets after the crash, in memory. */
static uint8_t *file_crash(const struct file *f, const struct crash *c, uint64_t *size_r)
{
	uint64_t end = f->size;

	for (unsigned k = 0; k < f->pending_n; k++) {
		const struct pending *p = &f->pending[k];
		end = end > p->offset + p->n ? end : p->offset + p->n;
	}
	uint8_t *octets = calloc(1, end + 1);
	if (!octets)
		fatal("no memory");
	if (f->size)
		memcpy(octets, f->octets, f->size);
	*size_r = f->size;
	for (unsigned k = 0; k < f->pending_n; k++)
		pending_put(c, &f->pending[k], k + 1 == f->pending_n, octets, size_r);
	/* The length is another thing that may be there before its octets. */
	if (f->pending_n && rnd(c->random) & 1)
		*size_r = end;
	return octets;
}

static int file_write(const struct file *f, const char *directory, const struct crash *c)
{
	char path[4096];
	uint64_t size;

	snprintf(path, sizeof(path), "%s/%s", directory, f->name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	uint8_t *octets = file_crash(f, c, &size);
	int err = put(fd, octets, size);
	free(octets);
	close(fd);
	return err;
}

/* Files of the directory itself are one disk, those below it another. */
static bool is_below(const struct file *f)
{
	return strchr(f->name, '/') != NULL;
}

/* One of the writes of that disk, as chance has it. */
static uint64_t cut_choose(const struct image *i, bool below, uint64_t *random)
{
	uint64_t n = 0, which;

	for (int f = 1; f <= FILES_MAX; f++)
		n += is_below(&i->files[f]) == below ? i->files[f].pending_n : 0;
	if (n == 0)
		return 0;
	which = rnd(random) % n;
	for (int f = 1; f <= FILES_MAX; f++) {
		if (is_below(&i->files[f]) != below)
			continue;
		if (which < i->files[f].pending_n)
			return i->files[f].pending[which].began;
		which -= i->files[f].pending_n;
	}
	return 0;
}

static struct crash crash_of(
	const struct image *i, enum image_fate fate, bool below, uint64_t *random)
{
	struct crash c = {
		.fate = fate, .chance = 1 + (unsigned)(rnd(random) % 7), .random = random};

	if (fate == IMAGE_OLDER || fate == IMAGE_YOUNGER)
		c.cut = cut_choose(i, below, random);
	return c;
}

int image_write(
	struct image *i, const char *directory, const enum image_fate fates[2], uint64_t seed)
{
	uint64_t random = (seed + 1) * 0x9e3779b97f4a7c15ull;
	struct crash crashes[2];
	int err = 0;

	for (int k = 0; k < 2; k++)
		crashes[k] = crash_of(i, fates[k], k, &random);
	for (int f = 1; f <= FILES_MAX && !err; f++) {
		const struct file *file = &i->files[f];
		/* A name that no sync of the directory has covered: as chance has it. */
		if (file->exists && (file->durable_name || rnd(&random) & 1))
			err = file_write(file, directory, &crashes[is_below(file)]);
	}
	return err;
}
