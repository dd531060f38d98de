/* SPDX-License-Identifier: BSD-3-Clause
 * Stores damaged on purpose, in every way that the check knows: it must say so, a repair must leave
 * a store without problems where that is possible, and what was not damaged must still be there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "store/body.h"
#include "store/check.h"
#include "store/db_queue_index.h"
#include "tests/unit/store/store_harness.h"

#define QUEUED ((1ull << 20) + 1) /* the second message: two remote recipients */
#define ANN    1u

static struct harness h;
static struct db db;
static char found[4096];

/* Five messages for ann and the queue, two of them copied to "a"; one expunged. */
static void fill(void)
{
	static const uint32_t uids[] = {2, 3};
	uint32_t ann = harness_account(&h, "ann@example.org");

	assert_int_equal(ann, ANN);
	harness_account(&h, "bob@example.org");
	struct mbox_name_op create = {.account = ann, .name = BYTES_LIT("a")};
	assert_int_equal(harness_write(&h, &create.op, STORE_MBOX_CREATE), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(harness_accept(&h, harness_message(&h, 3000 + 4000 * i,
							    (const char *[]){"ann@example.org",
								    "x@one.example.net",
								    "y@two.example.net", NULL})),
			HANDOFF_OK);
	struct mbox_op op = {.account = ann,
		.box = harness_box(&h, ann, "INBOX").box,
		.uids = uids,
		.uid_count = 2,
		.target = BYTES_LIT("a")};
	assert_int_equal(harness_write(&h, &op.op, STORE_COPY), 0);
	op.uid_count = 1;
	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
}

static int setup(void **state)
{
	char error[256];

	(void)state;
	harness_init(&h);
	h.conf.index_rows = 4; /* the first messages are in the queue's index, the last is not */
	harness_open(&h);
	fill();
	harness_close(&h);
	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	db_close(&db);
	harness_fini(&h);
	return 0;
}

static void note(void *ctx, const struct check_problem *p)
{
	size_t n = strlen(found);

	(void)ctx;
	snprintf(found + n, sizeof(found) - n, "%s (%s: %s)%s\n", p->what, p->object, p->detail,
		p->repaired ? " repaired" : "");
}

/* Problems that a check finds; their text is in found. */
static struct check_totals look(bool repair)
{
	struct check *c =
		check_create(&(struct check_conf){.db = &db, .repair = repair, .problem = note});

	found[0] = '\0';
	assert_non_null(c);
	assert_int_equal(check_run(c, &db, repair), 0);
	struct check_totals t = *check_totals(c);
	check_destroy(&c);
	return t;
}

/* ---- damage ---- */

static MDB_txn *txn;

static void row_change(enum db_id id, struct bytes key, size_t at, uint64_t value, size_t n)
{
	uint8_t copy[8192];
	struct bytes v;

	assert_int_equal(db_get(txn, &db, id, key, &v), 0);
	assert_true(v.n <= sizeof(copy) && at + n <= v.n);
	memcpy(copy, v.p, v.n);
	memcpy(copy + at, &value, n);
	assert_int_equal(db_put(txn, &db, id, key, bytes_make(copy, v.n)), 0);
}

static void row_cut(enum db_id id, struct bytes key)
{
	assert_int_equal(db_put(txn, &db, id, key, BYTES_LIT("xyz")), 0);
}

#define CHANGE(id, key, type, member, value)                                                       \
	row_change(id, key, offsetof(type, member), value, sizeof(((type *)0)->member))

static struct body_head body_head(uint64_t blob)
{
	struct body_head head;

	assert_int_equal(body_head_read(txn, &db, blob, &head), 0);
	return head;
}

/* In the journal's file, where it lies. */
static void damage_chunk(void)
{
	struct body_head head = body_head(QUEUED);

	assert_true(head.r.in_journal && head.r.size > CHUNK_DATA);
	assert_int_equal(
		pwrite(db.journal->fd, "\xff\xee", 2, (off_t)(head.at + CHUNK_DATA + 100)), 2);
}

/* The row says a place that the file has not. */
static void damage_chunk_outside(void)
{
	struct body_head head = body_head(QUEUED);
	struct bytes v;
	struct key k;

	assert_int_equal(db_get(txn, &db, DB_BLOB, key_id(&k, QUEUED), &v), 0);
	row_change(DB_BLOB, key_view(&k), v.n - sizeof(head.at), 1ull << 39, sizeof(head.at));
	db_live(&db, head.at, -(int64_t)body_tail(&head.r));
}

/* Bodies that have been moved out of it. */
static void move_out(void)
{
	struct key k;

	assert_int_equal(body_move(txn, &db, DB_BLOB, key_id(&k, QUEUED)), 0);
	assert_false(body_head(QUEUED).r.in_journal);
}

static void damage_chunk_row(void)
{
	struct key k;

	move_out();
	row_change(DB_CHUNK, key_id_n(&k, QUEUED, 1), 100, 0xff, 1);
}

static void damage_chunk_gone(void)
{
	struct key k;

	move_out();
	assert_int_equal(db_del(txn, &db, DB_CHUNK, key_id_n(&k, QUEUED, 0)), 0);
}

static void damage_slot(void)
{
	uint64_t at = body_head(QUEUED).at;

	assert_true(at >= JOURNAL_SLOT);
	db_live(&db, at, 4321);
}

static void damage_slot_row(void)
{
	struct key k = {.n = 0};

	key_u32(&k, journal_slot_of(body_head(QUEUED).at));
	row_change(DB_SLOT, key_view(&k), 0, 5, 8);
}

static void damage_orphan_extent(void)
{
	struct extent_rec r = {.at = body_head(QUEUED).at, .octets = CHUNK_DATA};
	struct key k;

	assert_int_equal(
		db_put(txn, &db, DB_EXTENT, key_id_n(&k, 77, 0), bytes_make(&r, sizeof(r))), 0);
	db_live(&db, r.at, CHUNK_DATA);
}

/* The same, and its slot does not know of it. */
static void damage_stray_extent(void)
{
	damage_orphan_extent();
	db_live(&db, body_head(QUEUED).at, -CHUNK_DATA);
}

static void shape_add(uint64_t blob, uint32_t crc)
{
	struct shape_rec rec = {.octets = 3, .crc = crc};
	uint8_t row[sizeof(rec) + 3] = {0};
	struct key k;

	memcpy(row, &rec, sizeof(rec));
	assert_int_equal(
		db_put(txn, &db, DB_SHAPE, key_id_n(&k, blob, 0), bytes_make(row, sizeof(row))), 0);
}

static void damage_shape(void)
{
	shape_add(QUEUED, 1);
}

static void damage_shape_stray(void)
{
	shape_add(QUEUED + 12345, 1);
}

static void damage_prefix(void)
{
	struct key k;

	row_change(DB_BLOB, key_id(&k, QUEUED), sizeof(struct blob_rec) + 2, 0, 1);
}

static void damage_blob_row(void)
{
	struct key k;

	row_cut(DB_BLOB, key_id(&k, QUEUED));
}

static void damage_refs(void)
{
	struct key k;

	CHANGE(DB_BLOB, key_id(&k, QUEUED), struct blob_rec, refs, 9);
}

static void damage_orphan_body(void)
{
	struct key k;

	/* The queue's row and its recipients go without telling anybody. */
	assert_int_equal(db_del(txn, &db, DB_Q, key_id(&k, QUEUED + 3)), 0);
	for (uint32_t i = 1; i < 3; i++)
		assert_int_equal(db_del(txn, &db, DB_QR, key_id_n(&k, QUEUED + 3, i)), 0);
}

static void damage_orphan_chunk(void)
{
	struct key k;

	assert_int_equal(db_put(txn, &db, DB_CHUNK, key_id_n(&k, 77, 0), BYTES_LIT("stray")), 0);
	assert_int_equal(db_put(txn, &db, DB_CRC, key_id_n(&k, 77, 0), BYTES_LIT("stra")), 0);
}

static void damage_garbage(void)
{
	struct gc_rec g = {.chunks = 2};
	struct key k;

	assert_int_equal(
		db_put(txn, &db, DB_GC, key_gc(&k, GC_BLOB, 0, QUEUED), bytes_make(&g, sizeof(g))),
		0);
}

static void damage_pending(void)
{
	struct key k;

	CHANGE(DB_Q, key_id(&k, QUEUED), struct q_rec, pending, 7);
}

static void damage_envelope(void)
{
	struct key k;

	row_cut(DB_Q, key_id(&k, QUEUED));
}

static void damage_envelope_gone(void)
{
	struct key k;

	assert_int_equal(db_del(txn, &db, DB_Q, key_id(&k, QUEUED)), 0);
}

static void damage_recipient(void)
{
	struct key k;

	row_cut(DB_QR, key_id_n(&k, QUEUED, 1));
}

static void damage_recipients_gone(void)
{
	struct key k;

	for (uint32_t i = 1; i < 3; i++)
		assert_int_equal(db_del(txn, &db, DB_QR, key_id_n(&k, QUEUED, i)), 0);
}

static void damage_schedule(void)
{
	struct key k;

	CHANGE(DB_QR, key_id_n(&k, QUEUED, 1), struct qr_rec, next_ms, 12345);
}

/* Where the index has the second recipient of the first message, and its sender. */
static struct queue_index_key index_key(bool sender)
{
	return sender ? queue_index_sender(BYTES_LIT("from@example.net"), QUEUED)
		      : queue_index_recipient(BYTES_LIT("x@one.example.net"), 2, QUEUED, 1);
}

static struct queue_index_rec index_rec(void)
{
	struct queue_index_rec r;

	assert_int_equal(queue_index_get(txn, &db, &r), 0);
	assert_true(r.from > QUEUED);
	return r;
}

static void index_row(bool sender, struct key *k)
{
	struct queue_index_key q = index_key(sender);
	struct queue_index_rec r = index_rec();
	uint64_t run;

	assert_int_equal(queue_index_run(txn, &db, &r, q.id, &run), 0);
	queue_index_row(k, run, &q);
}

static void damage_index(void)
{
	struct key k;

	index_row(false, &k);
	assert_int_equal(db_del(txn, &db, DB_QI, key_view(&k)), 0);
}

static void damage_index_sender(void)
{
	struct key k;

	index_row(true, &k);
	assert_int_equal(db_del(txn, &db, DB_QI, key_view(&k)), 0);
}

/* Another hash. */
static void damage_index_stray(void)
{
	struct key k;

	index_row(false, &k);
	k.p[9] ^= 1;
	assert_int_equal(db_put(txn, &db, DB_QI, key_view(&k), BYTES_NONE), 0);
}

/* The right row in another run as well. */
static void damage_index_twice(void)
{
	struct queue_index_key q = index_key(false);
	struct key k;

	index_rec();
	queue_index_row(&k, QUEUED - 1, &q);
	assert_int_equal(db_put(txn, &db, DB_QI, key_view(&k), BYTES_NONE), 0);
}

/* Of a message that the index cannot have. */
static void damage_index_ahead(void)
{
	struct queue_index_key q = index_key(false);
	struct key k;

	q.id = index_rec().until + 7;
	queue_index_row(&k, index_rec().run, &q);
	assert_int_equal(db_put(txn, &db, DB_QI, key_view(&k), BYTES_NONE), 0);
}

static void damage_index_numbers(void)
{
	struct queue_index_rec r = index_rec();

	r.until = r.from - 1;
	assert_int_equal(queue_index_put(txn, &db, &r), 0);
}

static void damage_box_counts(void)
{
	struct key k;

	CHANGE(DB_BOX, key_box(&k, ANN, 1), struct box_rec, exists, 1000);
	CHANGE(DB_BOX, key_box(&k, ANN, 1), struct box_rec, uidnext, 1);
}

static void damage_box_row(void)
{
	struct key k;

	row_cut(DB_BOX, key_box(&k, ANN, 2));
}

static void damage_boxname(void)
{
	struct key k;

	assert_int_equal(db_del(txn, &db, DB_BOXNAME, key_boxname(&k, ANN, BYTES_LIT("a"))), 0);
}

static void damage_boxname_stray(void)
{
	struct boxname_rec r = {.box = 99};
	struct key k;

	assert_int_equal(db_put(txn, &db, DB_BOXNAME, key_boxname(&k, ANN, BYTES_LIT("stray")),
				 bytes_make(&r, sizeof(r))),
		0);
}

static void damage_inbox_gone(void)
{
	struct key k;

	assert_int_equal(db_del(txn, &db, DB_BOX, key_box(&k, ANN, 1)), 0);
}

static void damage_message_row(void)
{
	struct key k;

	row_cut(DB_MSG, key_msg(&k, ANN, 1, 4));
}

static void damage_modseq(void)
{
	struct key k;

	CHANGE(DB_MSG, key_msg(&k, ANN, 1, 4), struct mbox_row, modseq, 3);
}

static void damage_acct(void)
{
	struct key k;

	assert_int_equal(db_del(txn, &db, DB_ACCT, key_account(&k, ANN)), 0);
}

static void damage_acct_row(void)
{
	struct key k;

	row_cut(DB_ACCT, key_account(&k, ANN));
}

static void damage_totals(void)
{
	struct key k;

	CHANGE(DB_ACCT, key_account(&k, ANN), struct acct_rec, bytes, 5);
	CHANGE(DB_ACCT, key_account(&k, ANN), struct acct_rec, modseq, 0);
	CHANGE(DB_ACCT, key_account(&k, ANN), struct acct_rec, next_box, 1);
}

static void damage_address(void)
{
	assert_int_equal(db_del(txn, &db, DB_ACCTNAME, BYTES_LIT("ann@example.org")), 0);
}

static void damage_address_row(void)
{
	row_cut(DB_ACCTNAME, BYTES_LIT("ann@example.org"));
}

static void damage_numbers(void)
{
	assert_int_equal(db_meta_put(txn, &db, "last_id", 5), 0);
	assert_int_equal(db_meta_put(txn, &db, "next_account", 1), 0);
}

static const struct {
	const char *what; /* the problem that must be reported */
	void (*damage)(void);
	bool repairable;
} cases[] = {
	{"body-damaged",       damage_chunk,           false},
	{"body-damaged",       damage_chunk_outside,   false},
	{"body-damaged",       damage_chunk_row,       false},
	{"body-damaged",       damage_chunk_gone,      false},
	{"journal-slot",       damage_slot,            true },
	{"journal-slot",       damage_slot_row,        true },
	{"journal-slot",       damage_blob_row,        true },
	{"extent-orphan",      damage_orphan_extent,   true },
	{"extent-orphan",      damage_stray_extent,    true },
	{"body-damaged",       damage_prefix,          false},
	{"body-row",           damage_blob_row,        true },
	{"queue-body",         damage_blob_row,        true },
	{"message-body",       damage_blob_row,        true },
	{"body-references",    damage_refs,            true },
	{"body-references",    damage_orphan_body,     true },
	{"chunk-orphan",       damage_orphan_chunk,    true },
	{"checksum-orphan",    damage_orphan_chunk,    true },
	{"garbage-in-use",     damage_garbage,         true },
	{"queue-pending",      damage_pending,         true },
	{"queue-row",          damage_envelope,        true },
	{"recipient-orphan",   damage_envelope_gone,   true },
	{"recipient-row",      damage_recipient,       true },
	{"queue-empty",        damage_recipients_gone, true },
	{"recipient-schedule", damage_schedule,        true },
	{"schedule-orphan",    damage_schedule,        true },
	{"recipient-index",    damage_index,           true },
	{"sender-index",       damage_index_sender,    true },
	{"index-orphan",       damage_index_stray,     true },
	{"index-orphan",       damage_index_twice,     true },
	{"index-orphan",       damage_index_ahead,     true },
	{"index-numbers",      damage_index_numbers,   true },
	{"mailbox-counts",     damage_box_counts,      true },
	{"mailbox-row",        damage_box_row,         true },
	{"mailbox-name",       damage_boxname,         true },
	{"name-orphan",        damage_boxname_stray,   true },
	{"messages-orphan",    damage_inbox_gone,      true },
	{"account-totals",     damage_inbox_gone,      true },
	{"message-row",        damage_message_row,     true },
	{"message-modseq",     damage_modseq,          true },
	{"modseq-orphan",      damage_modseq,          true },
	{"account-row",        damage_acct,            true },
	{"account-row",        damage_acct_row,        true },
	{"account-totals",     damage_totals,          true },
	{"account-address",    damage_address,         true },
	{"address-row",        damage_address_row,     true },
	{"shape-damaged",      damage_shape,           true },
	{"shape-orphan",       damage_shape_stray,     true },
	{"number-behind",      damage_numbers,         true },
};

/* bob and the first message are in nobody's way. */
static void the_rest_is_there(bool ann_is_whole)
{
	harness_open(&h);
	struct mbox_state bob = harness_box(&h, ANN + 1, "INBOX");
	assert_int_equal(bob.exists, 0);
	assert_true(harness_body_is(&h, 1ull << 20, 3000, "Received: here\r\n", true));
	/* The store takes mail, for ann as well. */
	struct mbox_state before = harness_box(&h, ANN, "INBOX");
	assert_int_equal(harness_accept(&h, harness_message(&h, 2000,
						    (const char *[]){"ann@example.org", NULL})),
		HANDOFF_OK);
	struct mbox_state after = harness_box(&h, ANN, "INBOX");
	assert_int_equal(after.exists, before.exists + 1);
	if (ann_is_whole)
		assert_int_equal(before.exists, 4);
	harness_close(&h);
}

static void test_a_store_in_order_has_no_problems(void **state)
{
	(void)state;
	struct check_totals t = look(false);

	assert_string_equal(found, "");
	assert_int_equal(t.problems, 0);
	assert_int_equal(t.blobs, 5);
	assert_int_equal(t.queued, 5);
	assert_int_equal(t.recipients, 10);
	assert_int_equal(t.accounts, 2);
	assert_int_equal(t.mailboxes, 3);
	assert_int_equal(t.messages, 4 + 2);
	assert_int_equal(t.body_bytes, 5 * 3000 + 10 * 4000);
}

static void damage_look_repair(unsigned i)
{
	char error[256];

	assert_int_equal(db_begin(&db, true, &txn), 0);
	cases[i].damage();
	assert_int_equal(db_commit(txn), 0);
	assert_true(look(false).problems > 0);
	bool seen = strstr(found, cases[i].what) != NULL;
	/* What follows from a row that cannot be read is seen when that row has gone. */
	struct check_totals t = look(true);
	if (!seen && !strstr(found, cases[i].what))
		fail_msg("case %u: %s is not among: %s", i, cases[i].what, found);
	assert_int_equal(t.repaired > 0, cases[i].repairable);
	t = look(false);
	if (cases[i].repairable && t.problems)
		fail_msg("case %u, after the repair: %s", i, found);
	assert_int_equal(t.problems > 0, !cases[i].repairable);
	db_close(&db);
	bool touches_ann = strstr("body-row queue-body message-body messages-orphan message-row "
				  "account-totals",
				   cases[i].what) != NULL;
	the_rest_is_there(!touches_ann);
	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	/* What the writer did since is in order as well. */
	assert_int_equal(look(false).problems > 0, !cases[i].repairable);
}

static void test_damage_is_found_and_repaired(void **state)
{
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		damage_look_repair(i);
	}
}

/* Slices of one step each, while the store changes between them: nothing may be reported. */
static void test_live_in_small_slices(void **state)
{
	bool end = false;
	unsigned slices = 0;
	static const uint32_t uid = 3;

	(void)state;
	db_close(&db);
	harness_open(&h);
	/* A second environment in one process is not for LMDB: the store's own is looked at. */
	struct check *c = check_create(
		&(struct check_conf){.db = harness_db(&h), .live = true, .problem = note});
	found[0] = '\0';
	for (; !end; slices++) {
		assert_int_equal(db_begin(harness_db(&h), false, &txn), 0);
		assert_int_equal(check_slice(c, txn, 0, &end), 0);
		db_abort(txn);
		struct mbox_op op = {.account = ANN,
			.box = harness_box(&h, ANN, "a").box,
			.uids = &uid,
			.uid_count = 1,
			.target = BYTES_LIT("INBOX")};
		op.box = harness_box(&h, ANN, "INBOX").box;
		assert_int_equal(harness_write(&h, &op.op, STORE_COPY), 0);
		assert_int_equal(harness_accept(&h, harness_message(&h, 2000,
							    (const char *[]){"ann@example.org",
								    "x@one.example.net", NULL})),
			HANDOFF_OK);
		struct mbox_state in = harness_box(&h, ANN, "INBOX");
		uint32_t last = in.uidnext - 1;
		op.uids = &last;
		assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
	}
	assert_string_equal(found, "");
	assert_true(slices > 5);
	check_destroy(&c);
	harness_close(&h);
	char error[256];
	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	assert_int_equal(look(false).problems, 0);
}

static bool garbage_is_there(uint64_t blob)
{
	struct bytes v;
	struct key k;

	assert_int_equal(db_begin(harness_db(&h), false, &txn), 0);
	int rc = db_get(txn, harness_db(&h), DB_GC, key_gc(&k, GC_BLOB, 0, blob), &v);
	db_abort(txn);
	return rc == 0;
}

/* A body had no chunks when it became garbage; then its slot of the journal was emptied. */
static void test_chunks_that_came_after_the_garbage(void **state)
{
	struct gc_rec g = {.chunks = 0};
	char error[256];
	struct key k;

	(void)state;
	assert_int_equal(db_begin(&db, true, &txn), 0);
	assert_int_equal(
		db_put(txn, &db, DB_GC, key_gc(&k, GC_BLOB, 0, 77), bytes_make(&g, sizeof(g))), 0);
	assert_int_equal(db_put(txn, &db, DB_CHUNK, key_id_n(&k, 77, 3), BYTES_LIT("moved")), 0);
	assert_int_equal(db_put(txn, &db, DB_CRC, key_id_n(&k, 77, 0), BYTES_LIT("stra")), 0);
	assert_int_equal(db_commit(txn), 0);
	assert_int_equal(look(false).problems, 0);
	db_close(&db);
	harness_open(&h);
	for (int i = 0; garbage_is_there(77) && i < 10000; i++)
		usleep(1000);
	assert_false(garbage_is_there(77));
	harness_close(&h);
	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
	assert_int_equal(look(false).problems, 0);
	assert_string_equal(found, "");
}

static void copy_all(struct mbox_op *op)
{
	static uint32_t uids[4096];
	struct mbox_state in = harness_box(&h, ANN, "INBOX");

	*op = (struct mbox_op){
		.account = ANN, .box = in.box, .uids = uids, .target = BYTES_LIT("INBOX")};
	for (uint32_t uid = 1; uid < in.uidnext && op->uid_count < ARRAY_LEN(uids); uid++)
		uids[op->uid_count++] = uid;
}

/* Longer than a slice and changed in each of them: it is counted again and again, and each of its
 * references once. */
static void test_live_with_a_mailbox_that_never_rests(void **state)
{
	struct mbox_op op;
	bool end = false;

	(void)state;
	db_close(&db);
	harness_open(&h);
	while (harness_box(&h, ANN, "INBOX").exists < 2500) {
		copy_all(&op);
		assert_int_equal(harness_write(&h, &op.op, STORE_COPY), 0);
	}
	struct check *c = check_create(
		&(struct check_conf){.db = harness_db(&h), .live = true, .problem = note});
	found[0] = '\0';
	for (uint8_t mode = FLAGS_ADD; !end; mode ^= FLAGS_ADD ^ FLAGS_REMOVE) {
		assert_int_equal(db_begin(harness_db(&h), false, &txn), 0);
		assert_int_equal(check_slice(c, txn, 0, &end), 0);
		db_abort(txn);
		copy_all(&op);
		op.uid_count = 1; /* more would keep the stage of modseqs from its end */
		op.mode = mode;
		op.flags = MSG_FLAGGED;
		assert_int_equal(harness_write(&h, &op.op, STORE_FLAGS), 0);
	}
	assert_string_equal(found, "");
	assert_int_equal(check_totals(c)->busy, 1);
	check_destroy(&c);
	harness_close(&h);
	char error[256];
	assert_int_equal(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_store_in_order_has_no_problems),
		T(test_damage_is_found_and_repaired),
		T(test_chunks_that_came_after_the_garbage),
		T(test_live_in_small_slices),
		T(test_live_with_a_mailbox_that_never_rests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
