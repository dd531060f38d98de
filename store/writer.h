/* SPDX-License-Identifier: BSD-3-Clause
 * The writer: one thread, the only one that writes the environment.  It takes what is on all its
 * channels, applies it in one transaction, commits, and only then completes the ops.
 *
 * Each kind of op has an apply function: it finds every expected refusal (op.status) before its
 * first put and returns 0, or it returns an LMDB code or errno and the transaction is given up.
 * What must be told to others after the commit is collected as effects. */
#pragma once
#include "store/mbox_name.h"
#include "store/db_queue_index.h"
#include "store/store_priv.h"

#define WRITER_GROUP_MAX 1024 /* ops taken at once, whatever the configuration says */
/* Pages that a commit frees: at least so many, and as many as have been made garbage, so that the
 * file stays flat; beyond 509 LMDB needs adjacent pages for its list, so there is an end to it. */
#define WRITER_FREED_PAGES 450
#define WRITER_FREED_MAX   2048 /* chosen: a group of 8 MiB */
#define WRITER_REOPENS_MAX 3
/* Rows of the queue in a run of its index, and young ones until one is begun, whatever the
 * configuration says; chosen: 1 MiB while a run is made, some 3 ms to sort it. */
#define WRITER_INDEX_ROWS 32768

/* Something to announce after the commit. */
struct effect {
	uint64_t value;          /* queue id, or a mailbox event */
	uint64_t owners;         /* ready hint: bit i: delivery worker i; 0: a mailbox event */
	struct message *message; /* ready hint with the message, or NULL */
};

/* The directory is to say so after the commit. */
struct quota_change {
	uint32_t account;
	bool over;
	uint16_t n;
	char address[ADDRESS_MAX];
};
#define QUOTA_CHANGES_MAX 64 /* of one group; others are told at their next change */

struct writer_expansion;

/* What is told to others after a commit. */
struct writer_effects {
	bool moves; /* there are new rows in move */
	struct effect *list;
	size_t count, cap;
	/* accounts that came over their quota, or under it */
	struct quota_change quota[QUOTA_CHANGES_MAX];
	unsigned quota_count;
};

/* The group whose commit is through, but not yet on disk: writer_answer.c. */
struct writer_pending {
	struct op *ops[WRITER_GROUP_MAX];
	unsigned n;
	struct writer_effects *effects;
	uint64_t commit_us; /* its commit took */
};

/* The queue's index as the transaction leaves it (writer_index.c). */
struct writer_index_state {
	struct queue_index_rec rec;
	uint64_t young; /* rows of the queue (q, qr) of ids from rec.until on */
	uint64_t next;  /* making a run: ids below it are in keys */
	uint32_t n, at; /* keys there are; of these, written */
	bool sorted;    /* ... and no more come before they are written */
	bool sweeping;  /* stale rows go; sweep is where the next look begins */
	uint8_t sweep[QI_KEY];
};

struct writer_index {
	uint32_t rows_max;
	bool loaded; /* the state is true */
	struct writer_index_state now, before;
	uint64_t rows; /* of the queue that this transaction has added and removed */
	bool shuffled; /* ... and it has sorted the keys */
	struct queue_index_key *keys;
};

/* The slot of the journal whose bodies move into LMDB (blob_move.c). */
struct writer_moving {
	uint32_t slot; /* 0: none */
	uint64_t at;   /* the record */
	size_t row;    /* octets of its rows that have been looked at */
};

struct writer {
	struct service service;
	struct store *store;
	struct db *db;
	pthread_t thread;
	/* configuration */
	uint32_t group_messages;
	uint64_t group_bytes, reserve_bytes;
	/* the transaction under way */
	MDB_txn *txn;
	uint64_t now_ms;
	uint64_t last_id, last_id_stored;
	struct writer_effects *effects; /* of this transaction */
	uint64_t messages_done, bytes_done;
	/* the last commit */
	struct writer_pending pending;
	uint64_t commit_us;             /* it took */
	bool unsynced;                  /* it is not on disk yet */
	uint64_t quiet_us;              /* since when there was nothing to do; 0: there was */
	uint64_t debt_made, debt_freed; /* pages made garbage, and freed, by this transaction */
	uint32_t freed_now;             /* ... and freed without having been garbage */
	struct {
		bool garbage;
		uint64_t sweep_below, last_id;
		struct writer_moving moving;
	} before; /* what an abort brings back */
	struct writer_moving moving;
	/* writer_room.c */
	struct {
		uint64_t since_us, written; /* the journal's octets at that time */
		bool calm;                  /* little came in the time before */
		bool giving;                /* a step of giving room back is under way */
		uint64_t look_us;           /* nothing to be given back before */
	} room;
	/* garbage */
	uint64_t debt_pages;
	bool garbage;         /* there are rows in gc or old ones in incoming */
	uint64_t sweep_below; /* incoming blobs up to this id are of an earlier life */
	uint64_t garbage_retry_us;
	/* failure */
	uint64_t full_until_us; /* a put or commit found no room, whatever the estimate said */
	unsigned reopens;
	uint64_t reopen_at_us, failed_at_us;
	bool opened_anew; /* writer_fail has opened the environment, and nobody has written since */
	struct writer_index index;
	struct writer_expansion *expansion; /* recipients of the message under way */
	uint32_t ref_number;                /* tells rows of GC_REF apart */
	uint64_t refs_due_us; /* when the first of them is to be looked at; 0: there is none */
};

/* ---- writer.c: life ---- */
struct writer *writer_create(struct store *s);
void writer_destroy(struct writer **w);
int writer_start(struct writer *w) WARN_UNUSED;
void writer_stop(struct writer *w);

/* ---- writer_group.c: transactions ---- */
/* more: ops that have been taken already and come in the groups that follow. */
void writer_group(struct writer *w, struct op **ops, unsigned n, unsigned more);
/* One transaction that only frees.  Returns false when it could not. */
bool writer_collect(struct writer *w);
/* References of expunged messages whose time has come are garbage. */
void writer_refs_look(struct writer *w);
/* ---- writer_answer.c ---- */
/* A commit is through.  What was pending is answered. */
void writer_follow(struct writer *w, bool changed);
/* The group just committed waits for its answers. */
void writer_keep(struct writer *w, struct op **ops, unsigned n);
/* Makes all commits durable and answers what is pending. */
void writer_settle(struct writer *w);
/* The same, begun: done by writer_settle or the next commit. */
void writer_settle_later(struct writer *w);
/* ---- writer_error.c ---- */
enum writer_error { WRITER_ERROR_ONE, WRITER_ERROR_FULL, WRITER_ERROR_FAILED };
/* What a failure means for the shard. */
enum writer_error writer_classify(const struct writer *w, int rc);
/* Is there room above the reserve, on disk and in the map? */
bool writer_has_room(const struct writer *w);
/* Octets that may move from the journal into LMDB; all from `enough` on are equal.  What is deleted
 * meanwhile must find room: that of the slots comes later. */
uint64_t writer_room_to_move(const struct writer *w, uint64_t enough);
void writer_fail(struct writer *w, int rc);
/* A commit of its own, durable. */
int writer_prove(struct writer *w) WARN_UNUSED;
/* Tries to bring a failed shard back, when it is time. */
void writer_recover(struct writer *w);
void writer_publish(struct writer *w, unsigned ops);
/* How much there is of messages, recipients and accounts, as store_get_info says it: after a
 * commit, and when one was taken back. */
void writer_publish_counts(struct writer *w);
void writer_refuse(struct op *op, enum writer_error why);

/* ---- writer_ops.c: the table of ops ---- */
struct writer_op {
	int (*apply)(struct writer *w, struct op *op);
	/* After the commit, before the op completes. */
	void (*committed)(struct writer *w, struct op *op);
	/* Memory that passed to the writer; whatever the outcome. */
	void (*release)(struct op *op);
	uint64_t (*bytes)(const struct op *op);
	bool needs_room;         /* refused below the reserve */
	int full, failed, error; /* status for these cases */
};
const struct writer_op *writer_op_of(const struct op *op);

int writer_apply_part(struct writer *w, struct op *op);
int writer_apply_drop(struct writer *w, struct op *op);
int writer_apply_accept(struct writer *w, struct op *op);
int writer_apply_result(struct writer *w, struct op *op);
int writer_apply_queue_admin(struct writer *w, struct op *op);
int writer_apply_append(struct writer *w, struct op *op);
int writer_apply_flags(struct writer *w, struct op *op);
int writer_apply_copy(struct writer *w, struct op *op);
int writer_apply_expunge(struct writer *w, struct op *op);
int writer_apply_transfer(struct writer *w, struct op *op);
int writer_apply_mbox_create(struct writer *w, struct op *op);
int writer_apply_mbox_delete(struct writer *w, struct op *op);
int writer_apply_mbox_rename(struct writer *w, struct op *op);
int writer_apply_mbox_subscribe(struct writer *w, struct op *op);
int writer_apply_mbox_special(struct writer *w, struct op *op);
int writer_apply_account(struct writer *w, struct op *op);
int writer_apply_alias(struct writer *w, struct op *op);
void writer_alias_committed(struct writer *w, struct op *op);
int writer_apply_domain(struct writer *w, struct op *op);
void writer_domain_committed(struct writer *w, struct op *op);
int writer_apply_queue_slice(struct writer *w, struct op *op);
void writer_queue_slice_committed(struct writer *w, struct op *op);
int writer_apply_shape(struct writer *w, struct op *op);
void writer_shape_release(struct op *op);
int writer_apply_move_in(struct writer *w, struct op *op);
int writer_apply_move_out(struct writer *w, struct op *op);
int writer_apply_move_forget(struct writer *w, struct op *op);
void writer_account_committed(struct writer *w, struct op *op);

/* ---- writer_room.c ---- */
/* Nobody waits for anything: a step of giving back room that is not needed, when little has come
 * for a while.  False: there is nothing to do; *sleep_us becomes at most the time until there may
 * be. */
bool writer_give_back(struct writer *w, uint64_t *sleep_us);

/* ---- effects ---- */
int writer_effect(struct writer *w, const struct effect *e) WARN_UNUSED;
int writer_event(struct writer *w, uint32_t account, uint32_t box) WARN_UNUSED;
void writer_effects_run(struct store *s, struct writer_effects *e);

/* ---- writer_accept.c ---- */
/* What has become of a message. */
struct stored {
	bool any;                               /* somebody has it; else nothing was put */
	uint32_t refused;                       /* local recipients that are gone */
	uint64_t refused_bits[LMTP_RCPT_WORDS]; /* message.each: which */
};
/* Into the INBOX of an account of this shard: the row, not the body. */
int writer_deliver(struct writer *w, const struct message *m, uint32_t account) WARN_UNUSED;
/* Stores a message: body, mailbox rows, queue rows. */
int writer_message_store(struct writer *w, struct message *m, struct stored *stored_r) WARN_UNUSED;

/* ---- writer_account.c, writer_box.c: rows ---- */
struct acct {
	uint32_t account;
	struct acct_rec r;
	char address[ADDRESS_MAX];
};
/* The first number from `next` on that names this shard (store_account_shard). */
uint64_t writer_number(const struct writer *w, uint64_t next);
int writer_acct_get(struct writer *w, uint32_t account, struct acct *a) WARN_UNUSED;
/* Also notes when the account came over its quota, or under it again. */
int writer_acct_put(struct writer *w, struct acct *a) WARN_UNUSED;
/* Is there room for `messages` more with `octets` octets in all? */
bool writer_acct_has_room(
	const struct writer *w, const struct acct *a, uint64_t messages, uint64_t octets);

struct box {
	uint32_t account, box;
	struct box_rec r;
	uint8_t name[MBOX_NAME_MAX];
	uint8_t keywords[KEYWORDS_BYTES];
};
int writer_box_get(struct writer *w, uint32_t account, uint32_t box, struct box *b) WARN_UNUSED;
int writer_box_put(struct writer *w, const struct box *b) WARN_UNUSED;
/* By name.  MDB_NOTFOUND. */
int writer_box_find(
	struct writer *w, uint32_t account, struct bytes name, struct box *b) WARN_UNUSED;
/* A new empty mailbox; a and b are put.  name is valid and free. */
int writer_box_create(
	struct writer *w, struct acct *a, struct bytes name, struct box *b) WARN_UNUSED;
/* Adds a message with the next UID; fills row->uid and modseq (a->r.modseq, which the caller has
 * raised).  The caller puts a and b. */
int writer_box_add(
	struct writer *w, struct acct *a, struct box *b, struct mbox_row *row) WARN_UNUSED;
/* Notes that UIDs first..last vanished at modseq; forgets the oldest when there are too many. */
int writer_box_gone(struct writer *w, struct box *b, uint64_t modseq, uint32_t first,
	uint32_t last) WARN_UNUSED;
/* Removes a row and its mod row and counts; not its blob reference. */
int writer_box_remove(
	struct writer *w, struct acct *a, struct box *b, const struct mbox_row *row) WARN_UNUSED;
int writer_msg_get(struct writer *w, uint32_t account, uint32_t box, uint32_t uid,
	struct mbox_row *row) WARN_UNUSED;
/* Bits of the keywords in a chain of NUL-terminated names; new ones get a bit while there are any.
 */
uint32_t writer_box_keywords(struct box *b, const struct chain *names);
/* Bits of the keywords of `from` that `mask` selects, in `to`. */
uint32_t writer_box_keywords_map(const struct box *from, struct box *to, uint32_t mask);

/* ---- gc.c ---- */
/* Frees up to `pages` pages of garbage. */
int gc_step(struct writer *w, uint32_t pages) WARN_UNUSED;
int gc_add_blob(struct writer *w, uint64_t blob, uint32_t chunks) WARN_UNUSED;
/* Nobody refers to this body any more: it goes, or becomes garbage. */
int gc_body(struct writer *w, uint64_t blob, const struct blob_rec *r) WARN_UNUSED;
int gc_add_box(struct writer *w, uint32_t account, uint32_t box) WARN_UNUSED;
/* Takes over a reference: given back when whoever had seen the message has had time to read it. */
int gc_add_ref(struct writer *w, uint64_t blob) WARN_UNUSED;
/* First row of `id` at or after from whose key begins with the first prefix_n octets of from. */
int writer_first_row(struct writer *w, enum db_id id, struct bytes from, size_t prefix_n,
	struct key *key_r, struct bytes *value_r) WARN_UNUSED;

/* ---- writer_index.c: the queue by sender, recipient and domain ---- */
int writer_index_init(struct writer *w) WARN_UNUSED;
void writer_index_fini(struct writer *w);
/* With each transaction: before it, when it has begun, when it is given up.  _forget: the
 * environment is opened anew, and what it holds may be older. */
void writer_index_begin(struct writer *w);
int writer_index_load(struct writer *w) WARN_UNUSED;
void writer_index_undo(struct writer *w);
void writer_index_forget(struct writer *w);
/* A message, and each of its recipients, has come to the queue. */
int writer_index_sender(struct writer *w, struct bytes sender, uint64_t id) WARN_UNUSED;
int writer_index_recipient(struct writer *w, struct bytes address, size_t domain_at, uint64_t id,
	uint32_t rcpt) WARN_UNUSED;
/* ... has left it. */
void writer_index_gone(struct writer *w, uint64_t id);
/* A bounded part of what there is to do, in proportion to what the transaction has changed. */
int writer_index_step(struct writer *w) WARN_UNUSED;
/* Is there anything to do for a transaction of its own? */
bool writer_index_due(const struct writer *w);

/* ---- writer_expand.c: who gets a message ---- */
/* A recipient that an alias stands for. */
struct writer_target {
	uint16_t n, domain_at;
	uint16_t rcpt; /* of the message: whose alias it is of */
	bool alone;    /* all that this alias stands for */
	char address[ADDRESS_MAX];
};
#define EXPANDED_MAX MESSAGE_RCPT_MAX
/* An account of another shard. */
struct writer_moved {
	uint32_t account;
	uint32_t number; /* of the recipient; MOVED_BEHIND: behind an alias */
	struct writer_target to;
};
#define MOVED_BEHIND UINT32_MAX
struct writer_expansion {
	uint32_t accounts[MESSAGE_RCPT_MAX + EXPANDED_MAX]; /* distinct, ascending at the end */
	uint32_t account_n;
	uint16_t rcpt;                             /* what is being expanded */
	struct writer_target remote[EXPANDED_MAX]; /* distinct; elsewhere */
	uint32_t remote_n;
	struct writer_moved moved[MOVE_RCPTS_MAX]; /* distinct */
	uint32_t moved_n;
};
static inline struct bytes writer_target_domain(const struct writer_target *t)
{
	return bytes_make(t->address + t->domain_at, (size_t)t->n - t->domain_at);
}
/* The accounts and addresses behind an alias, added to w->expansion for a message of `octets`.
 * Targets that are gone or full are added as addresses: delivery tells the sender.  MDB_NOTFOUND:
 * no such alias, or nobody behind it. */
int writer_expand(struct writer *w, uint32_t alias, uint64_t octets) WARN_UNUSED;
/* The targets of an alias of any shard: each with its NUL, copied to out. */
int writer_alias_get(struct writer *w, uint32_t alias, uint8_t out[ALIAS_ROW_MAX],
	struct bytes *targets_r) WARN_UNUSED;

/* ---- writer_move.c: recipients of other shards ---- */
/* Is it an account of another shard? */
bool writer_move_wanted(const struct writer *w, uint32_t account);
/* Adds it to the expansion.  False: its mailbox does not look as if it took it.  *again_r: it was
 * there already. */
bool writer_move_add(
	struct writer *w, uint32_t account, struct bytes address, uint32_t number, bool *again_r);
/* The row that the courier finds it by. */
int writer_move_put(struct writer *w, uint32_t account, uint64_t id, uint32_t rcpt) WARN_UNUSED;

/* ---- writer_early.c ---- */
/* A copy of an op that is about to be answered; NULL: no memory. */
struct op *writer_early_copy(struct accept_op *a);
/* True when op was such a copy; it is gone then. */
bool writer_early_complete(struct op *op);
/* Mode relaxed: answers what has been put, before the commit. */
void writer_relaxed_ack(struct writer *w, struct op **ops, unsigned n);

/* ---- test mutants: writer_mutant.c, or writer_mutant_none.c in every real build ---- */
/* May answer ops before they are durable and put copies in their place (writer_early_copy). */
void writer_mutant_ack(struct writer *w, struct op **ops, unsigned n);
/* Are groups answered as soon as their commit is through? */
bool writer_mutant_hurries(const struct writer *w);
/* Does the index say that it has a run of which only some keys are written? */
bool writer_mutant_counts_early(const struct writer *w);
