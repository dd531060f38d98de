/* SPDX-License-Identifier: BSD-3-Clause
 * The check's order of things, and its reports. */
#include "store/check_priv.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include "dataplane/base/clock.h"
#include "store/db_queue_index.h"

#define STEPS_PER_LOOK 16
#define RUN_SLICE_US   (50 * US_PER_MS) /* alone with the store */

enum stage {
	STAGE_NAMES,
	STAGE_BOXNAMES,
	STAGE_INDEX_NUMBERS,
	STAGE_BLOBS, /* from here to STAGE_REFS once for each range of bodies */
	STAGE_QUEUE,
	STAGE_BOXES,
	STAGE_ORPHANS,
	STAGE_HELD,
	STAGE_REFS,
	STAGE_CHUNKS,
	STAGE_CRCS,
	STAGE_SHAPES,
	STAGE_GARBAGE,
	STAGE_TAILS, /* behind these nothing that is in the journal is let go */
	STAGE_EXTENTS,
	STAGE_SLOTS,
	STAGE_RECIPIENTS,
	STAGE_SCHEDULE,
	STAGE_MOVES,
	STAGE_MODSEQS,
	STAGE_GONE,
	STAGE_INDEX,
	STAGE_ALIASES,
	STAGE_ACCOUNTS,
	STAGE_META,
	STAGE_PAGES,
	STAGE_N
};

static const struct {
	const char *name;
	int (*step)(struct check *c);
} stages[STAGE_N] = {
	[STAGE_NAMES] = {"addresses",  check_step_name          },
	[STAGE_BOXNAMES] = {"names",      check_step_boxname       },
	[STAGE_INDEX_NUMBERS] = {"index",      check_step_index_numbers },
	[STAGE_CHUNKS] = {"chunks",     check_step_chunk         },
	[STAGE_CRCS] = {"checksums",  check_step_crc           },
	[STAGE_SHAPES] = {"shapes",     check_step_shape         },
	[STAGE_GARBAGE] = {"garbage",    check_step_garbage       },
	[STAGE_TAILS] = {"journal",    check_step_tail          },
	[STAGE_EXTENTS] = {"journal",    check_step_extent        },
	[STAGE_SLOTS] = {"journal",    check_step_slot          },
	[STAGE_BLOBS] = {"bodies",     check_step_blob          },
	[STAGE_QUEUE] = {"queue",      check_step_queue         },
	[STAGE_BOXES] = {"mailboxes",  check_step_box           },
	[STAGE_ORPHANS] = {"orphans",    check_step_orphan_message},
	[STAGE_HELD] = {"expunged",   check_step_held_ref      },
	[STAGE_GONE] = {"vanished",   check_step_gone          },
	[STAGE_INDEX] = {"index",      check_step_index         },
	[STAGE_ALIASES] = {"aliases",    check_step_alias         },
	[STAGE_REFS] = {"references", check_step_refs          },
	[STAGE_RECIPIENTS] = {"envelopes",  check_step_recipient     },
	[STAGE_SCHEDULE] = {"schedule",   check_step_schedule      },
	[STAGE_MOVES] = {"moves",      check_step_move          },
	[STAGE_MODSEQS] = {"modseqs",    check_step_modseq        },
	[STAGE_ACCOUNTS] = {"accounts",   check_step_account       },
	[STAGE_META] = {"numbers",    check_step_meta          },
	[STAGE_PAGES] = {"pages",      check_step_pages         },
};

struct check *check_create(const struct check_conf *conf)
{
	struct check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->conf = *conf;
	c->db = conf->db;
	c->refs = malloc(CHECK_REFS_MAX * sizeof(*c->refs));
	c->slots = calloc(JOURNAL_SLOTS_MAX, sizeof(*c->slots));
	if (!c->refs || !c->slots)
		check_destroy(&c);
	return c;
}

void check_destroy(struct check **cp)
{
	struct check *c = *cp;

	if (!c)
		return;
	free(c->refs);
	free(c->slots);
	free(c);
	*cp = NULL;
}

const struct check_totals *check_totals(const struct check *c)
{
	return &c->totals;
}

const char *check_stage(const struct check *c)
{
	return c->stage < STAGE_N ? stages[c->stage].name : "end";
}

/* ---- what steps use ---- */

void check_go_on(struct check *c, struct bytes key)
{
	memcpy(c->at.p, key.p, key.n);
	c->at.n = (uint16_t)key.n;
}

void check_go_behind(struct check *c, struct bytes key)
{
	check_go_on(c, bytes_first(key, KEY_MAX - 1));
	c->at.p[c->at.n++] = 0;
}

int check_next(struct check *c, enum db_id id, struct key *key_r, struct bytes *value_r)
{
	struct db_cursor cursor;
	int rc = db_cursor_open(c->txn, c->db, id, &cursor);

	if (rc)
		return rc;
	/* An empty key is none for LMDB; all of ours are longer than one octet. */
	if (c->at.n == 0)
		c->at.p[c->at.n++] = 0;
	rc = db_cursor_seek(&cursor, key_view(&c->at));
	if (!rc) {
		memcpy(key_r->p, cursor.key.p, cursor.key.n);
		key_r->n = (uint16_t)cursor.key.n;
		*value_r = cursor.value;
		check_go_behind(c, key_view(key_r));
	}
	db_cursor_close(&cursor);
	return rc;
}

bool check_has(struct check *c, enum db_id id, struct bytes key, int *rc_r)
{
	struct bytes v;
	int rc = db_get(c->txn, c->db, id, key, &v);

	if (rc && rc != MDB_NOTFOUND)
		*rc_r = rc;
	return rc == 0;
}

bool check_problem(struct check *c, const char *what, bool repairable, bool lost,
	const char *object, const char *format, ...)
{
	struct check_problem p = {.what = what, .lost = lost};
	va_list ap;

	p.repaired = repairable && c->conf.repair;
	c->fixes += p.repaired;
	if (c->quiet)
		return p.repaired;
	c->totals.problems++;
	c->totals.repaired += p.repaired;
	c->totals.lost += lost;
	snprintf(p.object, sizeof(p.object), "%s", object);
	va_start(ap, format);
	vsnprintf(p.detail, sizeof(p.detail), format, ap);
	va_end(ap);
	if (c->conf.problem)
		c->conf.problem(c->conf.ctx, &p);
	return p.repaired;
}

void check_count(struct check *c, uint64_t blob)
{
	uint32_t low = 0, high = c->ref_n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (c->refs[mid].blob < blob)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < c->ref_n && c->refs[low].blob == blob)
		c->refs[low].count++;
}

/* ---- slices ---- */

/* The references of a range have been compared: the next range, or the suspects once more. */
static unsigned stage_after_refs(struct check *c)
{
	c->ref_at = 0;
	c->counting = true;
	c->again = !c->again && c->suspects;
	if (c->again) {
		c->ref_n = c->suspects;
		c->suspects = 0;
		return STAGE_QUEUE;
	}
	c->ref_n = c->suspects = 0;
	if (c->ref_next == 0)
		return STAGE_REFS + 1;
	struct key k;
	check_go_on(c, key_id(&k, c->ref_next));
	c->ref_next = 0;
	return STAGE_BLOBS;
}

static void stage_end(struct check *c)
{
	c->at.n = 0;
	c->stage = c->stage == STAGE_REFS ? stage_after_refs(c) : c->stage + 1;
}

int check_slice(struct check *c, MDB_txn *txn, uint64_t deadline_us, bool *end_r)
{
	c->txn = txn;
	c->fixes = 0;
	int err = queue_index_get(txn, c->db, &c->index);
	if (err)
		return err;
	for (unsigned n = 1; c->stage < STAGE_N && c->fixes < CHECK_FIXES_MAX; n++) {
		c->quiet = c->counting && c->stage >= STAGE_QUEUE && c->stage < STAGE_REFS;
		int rc = stages[c->stage].step(c);
		if (rc == MDB_NOTFOUND)
			stage_end(c);
		else if (rc)
			return rc;
		if (n % STEPS_PER_LOOK == 0 && clock_mono_us() >= deadline_us)
			break;
	}
	*end_r = c->stage == STAGE_N;
	return 0;
}

static int run_slice(struct check *c, struct db *db, bool repair, bool *end_r)
{
	MDB_txn *txn;
	int rc = db_begin(db, repair, &txn);

	if (rc)
		return rc;
	rc = check_slice(c, txn, clock_mono_us() + RUN_SLICE_US, end_r);
	if (rc || !repair) {
		db_abort(txn);
		return rc;
	}
	return db_commit(txn);
}

int check_run(struct check *c, struct db *db, bool repair)
{
	bool end = false;
	int rc = 0;

	while (!rc && !end)
		rc = run_slice(c, db, repair, &end);
	return rc > 0 ? -rc : rc ? -EIO : 0;
}
