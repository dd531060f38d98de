/* SPDX-License-Identifier: BSD-3-Clause
 * What the stages of the check share.  A step looks at one object and leaves c->at behind it. */
#pragma once
#include "store/body.h"
#include "store/check.h"

/* A body in the range whose references are being counted. */
struct check_ref {
	uint64_t blob;
	uint32_t refs, count; /* as its row says; as found */
};

/* Of one mailbox, while its messages are counted. */
struct check_box {
	bool active;
	uint8_t tries;
	uint32_t account, box, next_uid;
	uint32_t counted_uid; /* below it references have been counted, by an earlier try as well */
	struct box_rec found; /* counts */
	uint8_t row[sizeof(struct box_rec) + MBOX_NAME_MAX + KEYWORDS_BYTES]; /* as it was first */
	size_t row_n;
};

/* A slot of the journal: as its row was before the rows that refer to it were counted. */
struct check_slot {
	struct slot_rec was;
	uint64_t found; /* octets */
};

struct check {
	struct check_conf conf;
	const struct db *db;
	MDB_txn *txn; /* of the slice */
	struct check_totals totals;
	struct queue_index_rec index; /* as this slice sees it */
	unsigned stage;
	struct key at; /* where the stage goes on */
	unsigned fixes;
	bool counting; /* not for the first time: what is found has been reported */
	bool quiet;    /* this stage reports nothing */
	/* bodies */
	uint64_t body;       /* half looked at */
	uint32_t body_chunk; /* its next chunk */
	/* references */
	struct check_ref *refs;
	uint32_t ref_n, ref_at, suspects;
	uint64_t ref_next; /* the first body of the next range; 0: this is the last */
	bool again;        /* live: counting the suspects a second time */
	struct check_box box;
	struct check_slot *slots; /* JOURNAL_SLOTS_MAX */
};

#define CHECK_REFS_MAX (1u << 22) /* bodies counted in one pass; chosen: 64 MiB */

/* The first row of `id` at or after c->at; c->at moves behind it.  MDB_NOTFOUND: no more.  The
 * value is valid until the next write. */
int check_next(
	struct check *c, enum db_id id, struct key *key_r, struct bytes *value_r) WARN_UNUSED;
/* c->at becomes k or its successor. */
void check_go_on(struct check *c, struct bytes key);
void check_go_behind(struct check *c, struct bytes key);
/* Does the row exist?  *rc_r gets errors other than MDB_NOTFOUND. */
bool check_has(struct check *c, enum db_id id, struct bytes key, int *rc_r);
/* Reports; true: repair it now.  lost: what cannot be derived is gone. */
bool check_problem(struct check *c, const char *what, bool repairable, bool lost,
	const char *object, const char *format, ...) PRINTF(6, 7);
/* A reference to a body was found. */
void check_count(struct check *c, uint64_t blob);

/* How a body is called in what is reported; returns out. */
const char *check_blob_name(uint64_t blob, char out[64]);
/* Chunks of this body from *end_r on must not be there; 0: nobody knows it. */
int check_chunk_limit(struct check *c, uint64_t blob, uint32_t *end_r) WARN_UNUSED;

/* Each looks at one object.  0; MDB_NOTFOUND: the stage is over; else an error. */
int check_step_blob(struct check *c);
int check_step_chunk(struct check *c);
int check_step_crc(struct check *c);
int check_step_shape(struct check *c);
int check_step_garbage(struct check *c);
int check_step_tail(struct check *c);
int check_step_extent(struct check *c);
int check_step_slot(struct check *c);
int check_step_refs(struct check *c);
int check_step_queue(struct check *c);
int check_step_recipient(struct check *c);
int check_step_schedule(struct check *c);
int check_step_move(struct check *c);
int check_step_name(struct check *c);
int check_step_boxname(struct check *c);
int check_step_box(struct check *c);
int check_step_orphan_message(struct check *c);
int check_step_held_ref(struct check *c);
int check_step_gone(struct check *c);
int check_step_index(struct check *c);
int check_step_index_numbers(struct check *c);
int check_step_alias(struct check *c);
int check_step_modseq(struct check *c);
int check_step_account(struct check *c);
int check_step_meta(struct check *c);
int check_step_pages(struct check *c);
