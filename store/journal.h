/* SPDX-License-Identifier: BSD-3-Clause
 * The journal of an environment: what each transaction has changed, and the bodies it brought, in
 * one piece behind each other, so that a transaction is durable with one write and one sync; and
 * the checkpoints, from which on the journal is to be read.  This file knows slots, records and
 * rows, not what they mean: db_journal.c ties it to the environment.  Writer thread, except where
 * said otherwise.
 *
 * The file is an array of slots of JOURNAL_SLOT octets.  Slot 0 holds the two heads (checkpoints,
 * written in turns), the others records, each whole in one slot, head to tail.  A record is a
 * header, bodies, rows.  Records are numbered; the next one is behind the last, or the first of
 * another slot.  Bodies are read where they lie, until nobody refers to one of the slot: then the
 * slot is written anew. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/rt/chunk.h"

#define JOURNAL_NAME "journal"
#ifndef JOURNAL_SLOT               /* tests of crashes have smaller ones */
#define JOURNAL_SLOT (16ull << 20) /* chosen: two groups of 8 MiB */
#endif
#define JOURNAL_SLOTS_MAX 65536 /* 1 TiB */
#define JOURNAL_META      120   /* octets of LMDB's meta page that a commit writes */
/* Not in this slot: journal_next, and the whole transaction anew.  Among LMDB's codes. */
#define JOURNAL_SLOT_FULL (-30600)

/* A checkpoint: everything before `number` is in the environment as `meta` describes it. */
struct journal_head {
	uint64_t magic;
	uint64_t turn;   /* the higher is the newer */
	uint64_t set;    /* of the data file: this journal belongs to it */
	uint64_t txn;    /* of LMDB */
	uint64_t number; /* of the first record that is to be read */
	uint64_t at;     /* where it is to be */
	uint64_t salt; /* of the records since the store was opened: what others left is not read */
	uint8_t meta[JOURNAL_META];
	uint32_t reserved, crc; /* CRC-32C of what is before */
};
static_assert(sizeof(struct journal_head) == 184, "stored record");

struct journal_record {
	uint64_t magic, salt, number;
	uint64_t bodies_n;
	uint32_t rows_n, rows_crc;
	uint64_t reserved[2];
	uint32_t reserved2, crc; /* CRC-32C of what is before */
};
static_assert(sizeof(struct journal_record) == 64, "stored record");

/* What is done with a row; JOURNAL_MOVE: the body that this row describes is moved into the
 * environment. */
enum journal_what { JOURNAL_PUT = 1, JOURNAL_DEL, JOURNAL_CLEAR, JOURNAL_MOVE };

struct journal_row {
	uint8_t what, table;
	struct bytes key, value;
};

struct journal_slot {
	uint64_t live;        /* octets of bodies that somebody refers to */
	int64_t delta;        /* ... what the transaction under way adds */
	uint64_t empty_txn;   /* since when live is 0 */
	uint64_t last_number; /* of its records of this life */
	uint32_t allocated;   /* octets */
	uint32_t hole;        /* octets at its beginning whose blocks were given back */
	bool trimmed;         /* the one that is written: so were those behind it */
	bool touched, stuck;  /* stuck: what is live cannot be found (journal_victim) */
};

struct journal {
	int fd;
	const uint8_t *map;
	uint64_t size;             /* of the file */
	bool no_sync, early_reuse; /* test mutants */
	struct journal_head head;
	bool head_doubtful;                  /* the one behind it may be there, or not */
	uint64_t at, number, salt;           /* of the record under way */
	uint64_t bytes_since;                /* written since the checkpoint */
	uint64_t written;                    /* ... since it was opened */
	uint64_t durable_number, durable_at; /* behind the last record that is on disk */
	uint32_t slot_count;                 /* slots there are, slot 0 among them */
	struct journal_slot *slots;
	/* the record under way */
	bool quiet; /* rows are not noted */
	struct iovec *iov;
	uint32_t iov_n, iov_cap;
	uint64_t bodies_n;
	uint8_t *rows;
	size_t rows_n, rows_cap;
	bool no_memory;
	struct {
		void *from; /* room that is filled after it was noted */
		size_t at, n;
	} late;
	uint32_t *touched; /* the slots whose live it changes; room for all */
	uint32_t touched_n;
};

/* Is there a journal in this directory? */
bool journal_exists(const char *directory);
/* Opens it, or makes an empty one, without a valid head.  Main thread.  0 or an errno. */
int journal_open(struct journal **j_r, const char *directory, bool no_sync) WARN_UNUSED;
/* Makes it empty again, with blocks for the heads: a disk that is full takes checkpoints.  0 or an
 * errno. */
int journal_empty(struct journal *j) WARN_UNUSED;
void journal_close(struct journal **j);
/* The newest valid checkpoint; false: there is none. */
bool journal_head_read(struct journal *j);
/* Writes *h as the one behind j->head, durably.  Any thread, one at a time.  0 or an errno. */
int journal_head_write(const struct journal *j, struct journal_head *h) WARN_UNUSED;

/* It is there for sure: an earlier life may have ended before its sync.  0 or an errno. */
int journal_head_keep(const struct journal *j) WARN_UNUSED;
/* One behind j->head, whose write has failed, is never read.  0 or an errno. */
int journal_head_void(struct journal *j) WARN_UNUSED;

/* ---- the record under way ---- */
/* Forget what was noted. */
void journal_begin(struct journal *j);
/* A body becomes part of it; its chunks stay as they are until journal_write.  *at_r: where in the
 * file it will be.  0, ENOMEM, JOURNAL_SLOT_FULL. */
int journal_place(struct journal *j, const struct chain *body, uint64_t *at_r) WARN_UNUSED;
/* Memory that is lacking is told by journal_write. */
void journal_note(struct journal *j, enum journal_what what, unsigned table, struct bytes key,
	struct bytes value);
/* The same with a value of n octets that is not there yet: room is read before the next row. */
void journal_note_late(struct journal *j, unsigned table, struct bytes key, size_t n, void *room);
static inline bool journal_is_empty(const struct journal *j)
{
	return j->rows_n == 0 && j->bodies_n == 0;
}
/* Writes it, not durably.  0; JOURNAL_SLOT_FULL; ENOSPC; another errno. */
int journal_write(struct journal *j) WARN_UNUSED;
/* The environment has it, too: the next one begins behind it. */
void journal_advance(struct journal *j);
/* What journal_live has counted is so since transaction txn. */
void journal_live_settle(struct journal *j, uint64_t txn);
/* Whatever stands at the position of the record under way and behind it is never read again: 0, or
 * an errno: it may be. */
int journal_void(struct journal *j) WARN_UNUSED;
/* What has been written is durable.  Any thread.  0 or an errno. */
int journal_sync(const struct journal *j) WARN_UNUSED;
/* Everything before this record, which is or will be at `at`, is durable. */
void journal_durable(struct journal *j, uint64_t number, uint64_t at);
/* What is not durable is forgotten: j->at and j->number are behind the last record that is. */
void journal_back(struct journal *j);

/* ---- slots ---- */
/* The record under way begins in another slot that is free: no reader of a transaction before
 * `oldest` is left.  0, or ENOSPC. */
int journal_next(struct journal *j, uint64_t oldest) WARN_UNUSED;
static inline uint32_t journal_slot_of(uint64_t at)
{
	return (uint32_t)(at / JOURNAL_SLOT);
}
/* A body of n octets at `at` is referred to (n > 0), or no longer (n < 0). */
void journal_live(struct journal *j, uint64_t at, int64_t n);
/* What slots may have in use beside what is live in them: `spare` octets, and a part of what is
 * live. */
struct journal_slack {
	uint64_t spare;
	uint32_t part; /* one part in so many */
};
/* The slot that has the least in use when all together have more slack than that; 0: none. */
uint32_t journal_victim(const struct journal *j, const struct journal_slack *slack);
/* Would the record under way better begin in another slot, so that this one can be a victim? */
bool journal_is_sparse(const struct journal *j, const struct journal_slack *slack);
/* Octets of the slots that are in use, and of the bodies in them that somebody refers to. */
void journal_usage(const struct journal *j, uint64_t *octets_r, uint64_t *live_r);

/* Octets with blocks of slots that nobody needs, or will not after the next checkpoint. */
uint64_t journal_free(const struct journal *j);
/* Of these, what needs that checkpoint. */
uint64_t journal_free_later(const struct journal *j);
/* Blocks of one slot that is free go back to the file system, as for journal_next.  *octets_r: of
 * what size; 0: no slot has any.  0 or an errno. */
int journal_give_back(struct journal *j, uint64_t oldest, uint64_t *octets_r) WARN_UNUSED;

/* ---- reading: any thread ---- */
/* n octets of a body; NULL: not in the file. */
const uint8_t *journal_body(const struct journal *j, uint64_t at, uint64_t n);
struct journal_view {
	const struct journal_record *record;
	struct bytes rows;
	uint64_t next; /* where the one behind it would be */
};
static inline uint64_t journal_place_of(const struct journal *j, const struct journal_view *v)
{
	return (uint64_t)((const uint8_t *)v->record - j->map);
}
/* The record at `at`, whatever its number and salt; false: there is none. */
bool journal_view(const struct journal *j, uint64_t at, struct journal_view *v);
/* The record with this number, as the last life has written it: at `at`, or first in a slot. */
bool journal_find(const struct journal *j, uint64_t at, uint64_t number, uint64_t salt,
	struct journal_view *v);
/* Takes the first row off.  False: there are no more, or (rows->n != 0) it cannot be read. */
bool journal_row_next(struct bytes *rows, struct journal_row *row);
