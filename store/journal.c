/* SPDX-License-Identifier: BSD-3-Clause
 * The journal's file, heads and records. */
#include "store/journal_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "dataplane/base/crc32c.h"

#define HEAD_MAGIC   0x31646165486c6e4aull /* "JnlHead1" */
#define RECORD_MAGIC 0x316365526c6e4aull   /* "JnlRec1" */
#define HEAD_PLACE   4096                  /* octets between the two heads */
#define HEADS        2
#define MAP_BYTES    (JOURNAL_SLOT * JOURNAL_SLOTS_MAX)
#define IOV_FIRST    4096        /* pieces of a record that have room from the beginning; chosen */
#define IOV_BATCH    1024        /* IOV_MAX of Linux */
#define ROW_HEAD     8           /* what u8, table u8, octets of the key u16, of the value u32 */
#define ROWS_RESERVE (64u << 10) /* kept behind the bodies of a record; more costs a second try */
#define ROWS_MAX     (JOURNAL_SLOT / 2)

static int path_of(const char *directory, char *out, size_t cap)
{
	return snprintf(out, cap, "%s/" JOURNAL_NAME, directory) < (int)cap ? 0 : ENAMETOOLONG;
}

bool journal_exists(const char *directory)
{
	char path[PATH_MAX];

	return path_of(directory, path, sizeof(path)) == 0 && access(path, F_OK) == 0;
}

static int size_look(struct journal *j)
{
	struct stat st;

	if (fstat(j->fd, &st) < 0)
		return errno;
	j->size = MIN((uint64_t)st.st_size, (uint64_t)MAP_BYTES);
	return 0;
}

static int file_open(struct journal *j, const char *directory)
{
	char path[PATH_MAX];
	int rc = path_of(directory, path, sizeof(path));

	if (rc)
		return rc;
	j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->fd < 0)
		return errno;
	rc = size_look(j);
	if (rc)
		return rc;
	/* Slots that there are not yet are mapped as well: they come into being beneath it. */
	void *map = mmap(NULL, MAP_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, j->fd, 0);
	if (map == MAP_FAILED)
		return errno;
	j->map = map;
	return journal_slots_grow(
		j, MAX((uint32_t)((j->size + JOURNAL_SLOT - 1) / JOURNAL_SLOT), 1u));
}

int journal_open(struct journal **j_r, const char *directory, bool no_sync)
{
	struct journal *j = calloc(1, sizeof(*j));

	*j_r = j;
	if (!j)
		return ENOMEM;
	j->fd = -1;
	j->no_sync = no_sync;
	j->iov_cap = IOV_FIRST;
	j->iov = malloc(j->iov_cap * sizeof(*j->iov));
	int rc = j->iov ? file_open(j, directory) : ENOMEM;
	if (!rc && getrandom(&j->salt, sizeof(j->salt), 0) != sizeof(j->salt))
		rc = EIO;
	if (rc)
		journal_close(j_r);
	return rc;
}

int journal_empty(struct journal *j)
{
	j->head = (struct journal_head){0};
	if (ftruncate(j->fd, 0) < 0)
		return errno;
	int rc = posix_fallocate(j->fd, 0, HEADS * HEAD_PLACE);
	return rc ? rc : size_look(j);
}

void journal_close(struct journal **jp)
{
	struct journal *j = *jp;

	if (!j)
		return;
	if (j->map)
		munmap((void *)(uintptr_t)j->map, MAP_BYTES);
	if (j->fd >= 0)
		close(j->fd);
	free(j->slots);
	free(j->touched);
	free(j->iov);
	free(j->rows);
	free(j);
	*jp = NULL;
}

int journal_sync(const struct journal *j)
{
	return j->no_sync || fdatasync(j->fd) == 0 ? 0 : errno;
}

static int write_at(const struct journal *j, const void *p, size_t n, uint64_t at)
{
	ssize_t done = pwrite(j->fd, p, n, (off_t)at);

	return done < 0 ? errno : done == (ssize_t)n ? 0 : EIO;
}

/* ---- heads ---- */

bool journal_head_read(struct journal *j)
{
	bool any = false;

	for (unsigned i = 0; i < HEADS; i++) {
		struct journal_head h;
		if (pread(j->fd, &h, sizeof(h), i * HEAD_PLACE) != sizeof(h) ||
			h.magic != HEAD_MAGIC ||
			h.crc != crc32c(0, &h, offsetof(struct journal_head, crc)))
			continue;
		if (any && h.turn < j->head.turn)
			continue;
		j->head = h;
		any = true;
	}
	return any;
}

static int head_put(const struct journal *j, const struct journal_head *h, uint64_t turn)
{
	int rc = write_at(j, h, sizeof(*h), turn % HEADS * HEAD_PLACE);

	return rc ? rc : journal_sync(j);
}

int journal_head_write(const struct journal *j, struct journal_head *h)
{
	h->magic = HEAD_MAGIC;
	h->turn = j->head.turn + 1;
	h->crc = crc32c(0, h, offsetof(struct journal_head, crc));
	return head_put(j, h, h->turn);
}

int journal_head_keep(const struct journal *j)
{
	return head_put(j, &j->head, j->head.turn);
}

int journal_head_void(struct journal *j)
{
	static const struct journal_head none;

	j->head_doubtful = false;
	return head_put(j, &none, j->head.turn + 1);
}

/* ---- the record under way ---- */

void journal_begin(struct journal *j)
{
	for (uint32_t i = 0; i < j->touched_n; i++) {
		j->slots[j->touched[i]].delta = 0;
		j->slots[j->touched[i]].touched = false;
	}
	j->touched_n = 0;
	j->iov_n = 1; /* the first is the header's */
	j->bodies_n = 0;
	j->rows_n = 0;
	j->no_memory = j->quiet = false;
	j->late.from = NULL;
}

static uint64_t slot_end(uint64_t at)
{
	return (at / JOURNAL_SLOT + 1) * JOURNAL_SLOT;
}

static int iov_add(struct journal *j, void *p, size_t n)
{
	if (j->iov_n == j->iov_cap) {
		uint32_t cap = 2 * j->iov_cap;
		struct iovec *iov = realloc(j->iov, cap * sizeof(*iov));
		if (!iov)
			return ENOMEM;
		j->iov = iov;
		j->iov_cap = cap;
	}
	j->iov[j->iov_n++] = (struct iovec){p, n};
	return 0;
}

int journal_place(struct journal *j, const struct chain *body, uint64_t *at_r)
{
	uint64_t at = j->at + sizeof(struct journal_record) + j->bodies_n;

	if (j->at == 0 || at + body->bytes + ROWS_RESERVE > slot_end(j->at))
		return JOURNAL_SLOT_FULL;
	for (struct chunk *c = body->head; c; c = c->next) {
		if (c->n && iov_add(j, c->data, c->n))
			return ENOMEM;
	}
	j->bodies_n += body->bytes;
	*at_r = at;
	return 0;
}

/* What was left for later is there by now. */
static void late_copy(struct journal *j)
{
	if (j->late.from)
		memcpy(j->rows + j->late.at, j->late.from, j->late.n);
	j->late.from = NULL;
}

static uint8_t *rows_room(struct journal *j, size_t n)
{
	if (j->rows_n + n > j->rows_cap) {
		size_t cap = MAX(2 * j->rows_cap, j->rows_n + n + ROWS_RESERVE);
		uint8_t *rows = realloc(j->rows, cap);
		if (!rows) {
			j->no_memory = true;
			return NULL;
		}
		j->rows = rows;
		j->rows_cap = cap;
	}
	uint8_t *room = j->rows + j->rows_n;
	j->rows_n += n;
	return room;
}

/* Returns where the value goes. */
static uint8_t *row_head(
	struct journal *j, enum journal_what what, unsigned table, struct bytes key, size_t value_n)
{
	late_copy(j);
	uint8_t *p = rows_room(j, ROW_HEAD + key.n + value_n);
	uint16_t key_n = (uint16_t)key.n;
	uint32_t n = (uint32_t)value_n;

	if (!p)
		return NULL;
	p[0] = (uint8_t)what;
	p[1] = (uint8_t)table;
	memcpy(p + 2, &key_n, sizeof(key_n));
	memcpy(p + 4, &n, sizeof(n));
	if (key.n)
		memcpy(p + ROW_HEAD, key.p, key.n);
	return p + ROW_HEAD + key.n;
}

void journal_note(struct journal *j, enum journal_what what, unsigned table, struct bytes key,
	struct bytes value)
{
	if (j->quiet)
		return;
	uint8_t *p = row_head(j, what, table, key, value.n);
	if (p && value.n)
		memcpy(p, value.p, value.n);
}

void journal_note_late(struct journal *j, unsigned table, struct bytes key, size_t n, void *room)
{
	if (j->quiet)
		return;
	uint8_t *p = row_head(j, JOURNAL_PUT, table, key, n);
	if (!p)
		return;
	j->late.from = room;
	j->late.at = (size_t)(p - j->rows);
	j->late.n = n;
}

/* The batch; shortened writes go on where they stopped. */
static int write_vector(struct journal *j, struct iovec *iov, uint32_t n, uint64_t at)
{
	while (n) {
		int batch = (int)MIN(n, (uint32_t)IOV_BATCH);
		ssize_t done = pwritev(j->fd, iov, batch, (off_t)at);
		if (done < 0)
			return errno;
		if (done == 0)
			return EIO;
		at += (uint64_t)done;
		while (n && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (done) {
			iov->iov_base = (uint8_t *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

static uint64_t record_octets(uint64_t bodies_n, uint64_t rows_n)
{
	return (sizeof(struct journal_record) + bodies_n + rows_n + 7) & ~7ull;
}

int journal_write(struct journal *j)
{
	static const uint8_t zeros[8];
	uint64_t octets = record_octets(j->bodies_n, j->rows_n);
	size_t pad = octets - sizeof(struct journal_record) - j->bodies_n - j->rows_n;

	late_copy(j);
	if (j->no_memory || j->rows_n > ROWS_MAX)
		return ENOMEM;
	/* A slot is never filled to its last octet: `at` tells its slot. */
	if (j->at == 0 || j->at + octets > slot_end(j->at) - sizeof(struct journal_record))
		return JOURNAL_SLOT_FULL;
	int rc = journal_allocate(j, j->at + octets);
	/* A slot that cannot grow is full; others may have their blocks. */
	if (rc == ENOSPC || rc == EDQUOT)
		return JOURNAL_SLOT_FULL;
	if (rc)
		return rc;
	struct journal_record r = {.magic = RECORD_MAGIC,
		.salt = j->salt,
		.number = j->number,
		.bodies_n = j->bodies_n,
		.rows_n = (uint32_t)j->rows_n,
		.rows_crc = crc32c(0, j->rows, j->rows_n)};
	r.crc = crc32c(0, &r, offsetof(struct journal_record, crc));
	if (j->rows_n)
		rc = iov_add(j, j->rows, j->rows_n);
	if (!rc && pad)
		rc = iov_add(j, (void *)(uintptr_t)zeros, pad);
	if (rc)
		return rc;
	j->iov[0] = (struct iovec){&r, sizeof(r)};
	return write_vector(j, j->iov, j->iov_n, j->at);
}

void journal_advance(struct journal *j)
{
	uint64_t octets = record_octets(j->bodies_n, j->rows_n);

	j->slots[journal_slot_of(j->at)].last_number = j->number;
	j->number++;
	j->at += octets;
	j->bytes_since += octets;
	j->written += octets;
	journal_begin(j);
}

/* The record may also be the first of another slot. */
int journal_void(struct journal *j)
{
	static const struct journal_record none;
	struct journal_view v;
	int rc = 0;

	if (j->at != 0)
		rc = write_at(j, &none, sizeof(none), j->at);
	while (!rc && journal_find(j, j->at, j->number, j->salt, &v))
		rc = write_at(j, &none, sizeof(none), journal_place_of(j, &v));
	return rc ? rc : journal_sync(j);
}

void journal_durable(struct journal *j, uint64_t number, uint64_t at)
{
	j->durable_number = number;
	j->durable_at = at;
}

void journal_back(struct journal *j)
{
	j->number = j->durable_number;
	j->at = j->durable_at;
	journal_begin(j);
}

/* ---- reading ---- */

const uint8_t *journal_body(const struct journal *j, uint64_t at, uint64_t n)
{
	return at >= JOURNAL_SLOT && at < j->size && n <= j->size - at ? j->map + at : NULL;
}

bool journal_view(const struct journal *j, uint64_t at, struct journal_view *v)
{
	const struct journal_record *r;
	uint64_t magic;

	if (at % 8 || !journal_body(j, at, sizeof(*r)) || at + sizeof(*r) > slot_end(at))
		return false;
	/* There may be a hole, which not every file system can map when it is full. */
	if (pread(j->fd, &magic, sizeof(magic), (off_t)at) != sizeof(magic) ||
		magic != RECORD_MAGIC)
		return false;
	r = (const struct journal_record *)(const void *)(j->map + at);
	if (r->crc != crc32c(0, r, offsetof(struct journal_record, crc)))
		return false;
	uint64_t room = MIN(slot_end(at), j->size) - at;
	if (r->bodies_n > room || record_octets(r->bodies_n, r->rows_n) > room)
		return false;
	v->record = r;
	v->rows = bytes_make(j->map + at + sizeof(*r) + r->bodies_n, r->rows_n);
	v->next = at + record_octets(r->bodies_n, r->rows_n);
	return crc32c(0, v->rows.p, v->rows.n) == r->rows_crc;
}

static bool is_it(const struct journal *j, uint64_t at, uint64_t number, uint64_t salt,
	struct journal_view *v)
{
	return journal_view(j, at, v) && v->record->number == number && v->record->salt == salt;
}

bool journal_find(const struct journal *j, uint64_t at, uint64_t number, uint64_t salt,
	struct journal_view *v)
{
	if (is_it(j, at, number, salt, v))
		return true;
	for (uint64_t i = 1; i * JOURNAL_SLOT < j->size; i++) {
		if (is_it(j, i * JOURNAL_SLOT, number, salt, v))
			return true;
	}
	return false;
}

bool journal_row_next(struct bytes *rows, struct journal_row *row)
{
	uint16_t key_n;
	uint32_t value_n;

	if (rows->n < ROW_HEAD)
		return false;
	memcpy(&key_n, rows->p + 2, sizeof(key_n));
	memcpy(&value_n, rows->p + 4, sizeof(value_n));
	if ((uint64_t)key_n + value_n > rows->n - ROW_HEAD)
		return false;
	row->what = rows->p[0];
	row->table = rows->p[1];
	row->key = bytes_make(rows->p + ROW_HEAD, key_n);
	row->value = bytes_make(rows->p + ROW_HEAD + key_n, value_n);
	*rows = bytes_skip(*rows, (size_t)ROW_HEAD + key_n + value_n);
	return true;
}
