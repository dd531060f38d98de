/* SPDX-License-Identifier: BSD-3-Clause
 * The store as everybody else sees it: descriptors to the writer and to the readers.  Only the
 * writer thread writes LMDB, only reader threads read it; polling cores send ops over channels and
 * never touch the map.  Ops are embedded in the requester's memory (rt/channel.h); whatever has a
 * variable size travels in chains of chunks, owned by the side that holds the op.
 *
 * Every write op completes after the commit that made it durable. */
#pragma once
#include "smtp/directory.h"
#include "smtp/handoff.h"
#include "smtp/scram.h"

struct store;

#define STORE_SHARDS_MAX  HANDOFF_LANES_MAX
#define STORE_READERS_MAX 8
#define STORE_REASON_MAX  240 /* octets of last reply kept per recipient */

struct store_conf {
	const char *path;           /* directory of shard 0; created when absent */
	uint32_t shards;            /* 0: 1.  Of what is opened by shards.h */
	const char *const *paths;   /* directories of the shards from 1 on; NULL: below path */
	uint32_t readers;           /* reader threads of a shard */
	uint64_t map_bytes;         /* address space, not memory; 0: 1 TiB */
	uint64_t reserve_bytes;     /* free disk kept; 0: min(5 %, 4 GiB) */
	uint32_t group_messages;    /* ops in one commit at most; 0: 512 */
	uint64_t group_bytes;       /* 0: 8 MiB */
	uint64_t queue_lifetime_ms; /* expiry given to new queue rows */
	uint64_t quota_bytes;       /* of an account without a quota of its own; 0: none */
	uint32_t quota_messages;
	uint32_t index_rows;              /* queue rows in a run of its index; 0: 32,768 */
	uint64_t expunged_read_ms;        /* how long expunged bodies can be read; 0: a minute */
	uint64_t checkpoint_bytes;        /* of the journal between checkpoints; 0: 64 MiB */
	uint64_t journal_spare;           /* octets that the journal's slots may have in use beside
					     what is live in them and half of that; 0: 128 MiB */
	uint64_t give_back_ms;            /* after how long with little mail room that is not needed
					     goes back to the file system; 0: 10 s; UINT64_MAX: never */
	char extension;                   /* "user+anything" is user: '+'; 0: no such addresses */
	const char *const *local_domains; /* lower case */
	uint32_t local_domain_count;
	char hostname[256];
	bool relaxed; /* mail is answered after the puts, the commit follows at once: unsafe */
	/* Test mutants (meson -Dmutants=true only): */
	bool mutant_no_sync;      /* commits are not synced */
	bool mutant_early_ack;    /* accepts are answered 20 ms before their commit */
	bool mutant_unsynced_ack; /* groups are answered before the journal is synced */
	bool mutant_early_reuse;  /* a slot of the journal is used again before a checkpoint */
	bool mutant_early_head;   /* a checkpoint is noted before its pages are synced */
	bool mutant_early_hole;   /* ... and pages that a checkpoint needs become holes */
	bool mutant_early_index;  /* the index says it has what is not in it yet */
};

/* ---- op kinds of the writer, after the handoff kinds (smtp/handoff.h) ---- */
enum store_write_kind {
	STORE_RESULT = HANDOFF_KIND_N, /* results_op: outcome of a delivery attempt */
	STORE_QUEUE_ADMIN,             /* queue_admin_op */
	STORE_APPEND,                  /* append_op */
	STORE_FLAGS,                   /* mbox_op: add, remove, replace flags */
	STORE_COPY,                    /* mbox_op */
	STORE_EXPUNGE,                 /* mbox_op: rows go, body references are dropped */
	STORE_TRANSFER,                /* mbox_op: copied and expunged, both or neither */
	STORE_MBOX_CREATE,
	STORE_MBOX_DELETE,
	STORE_MBOX_RENAME,
	STORE_MBOX_SUBSCRIBE, /* mbox_name_op */
	STORE_ACCOUNT,        /* account_op */
	STORE_MBOX_SPECIAL,   /* mbox_name_op: special */
	STORE_ALIAS,          /* alias_op */
	STORE_DOMAIN,         /* domain_op */
	STORE_QUEUE_SLICE,    /* queue_slice_op */
	STORE_SHAPE,          /* shape_op */
	STORE_MOVE_IN,        /* move_in_op */
	STORE_MOVE_OUT,       /* move_out_op */
	STORE_MOVE_FORGET,    /* move_forget_op */
};

/* ---- op kinds of the readers ---- */
enum store_read_kind {
	STORE_READ_BODY = 1,    /* body_read_op */
	STORE_READ_SCHEDULE,    /* schedule_read_op */
	STORE_READ_QUEUE,       /* queue_read_op: one message's envelope and recipients */
	STORE_READ_QUEUE_LIST,  /* queue_list_op */
	STORE_READ_MBOX_LIST,   /* mbox_list_op */
	STORE_READ_MBOX_OPEN,   /* mbox_read_op: state and name -> number */
	STORE_READ_MBOX_ROWS,   /* mbox_read_op: a slice of message rows */
	STORE_READ_CREDENTIALS, /* credentials_op */
	STORE_READ_ACCOUNTS,    /* accounts_list_op */
	STORE_READ_CHECK,       /* store_check_op */
	STORE_READ_STAT,        /* store_stat_op */
	STORE_READ_MBOX_GONE,   /* mbox_gone_op */
	STORE_READ_ALIASES,     /* names_list_op */
	STORE_READ_DOMAINS,     /* names_list_op */
	STORE_READ_MOVES,       /* moves_read_op */
	STORE_READ_DEDUP,       /* dedup_read_op */
	STORE_READ_QUOTA,       /* quota_read_op */
	STORE_READ_SHAPE,       /* shape_read_op */
};

/* op.status of all store ops: 0; -ENOENT no such thing; -EEXIST; -ENOSPC full (try later); -EIO the
 * shard has failed or data is corrupt; -EINVAL; -EDQUOT over quota; -ELOOP; -ENOBUFS no chunks for
 * the answer (try later). */

/* ================= queue ================= */

/* QUEUE_MOVING: on the way to another shard, not in the schedule. */
enum queue_state { QUEUE_SCHEDULED = 0, QUEUE_HELD = 1, QUEUE_MOVING = 2 };

enum attempt_outcome { ATTEMPT_DELIVERED = 1, ATTEMPT_DEFERRED, ATTEMPT_FAILED };

/* The outcome for one recipient. */
struct rcpt_result {
	uint32_t rcpt;   /* index in the message */
	uint8_t outcome; /* enum attempt_outcome */
	uint8_t reason_n;
	bool warned;                   /* ATTEMPT_DEFERRED: the sender is told of the delay */
	uint16_t code;                 /* SMTP code, 0: none */
	uint64_t next_ms;              /* ATTEMPT_DEFERRED: wall clock of the next attempt */
	char reason[STORE_REASON_MAX]; /* printable ASCII: "mx1.example.org said: 450 4.2.0 ..." */
};

/* One transaction: rows of finished recipients go, deferred ones get their next attempt; the last
 * recipient takes message and body with it; `bounce`, if any, is enqueued in the same transaction.
 */
struct results_op {
	struct op op; /* STORE_RESULT */
	uint64_t id;
	uint32_t count;
	struct rcpt_result *results; /* requester's memory */
	/* NULL, or a DSN (remote or local recipient) with an id of its own; the reference passes
	 * when the op is submitted, whatever its status becomes: NULL afterwards. */
	struct message *bounce;
};

/* QUEUE_BOUNCE: given up at the next attempt, which is now, and reported to the sender. */
enum queue_action {
	QUEUE_RETRY,
	QUEUE_DELETE,
	QUEUE_HOLD,
	QUEUE_RELEASE,
	QUEUE_BOUNCE,
	QUEUE_PRIORITY,
	QUEUE_ACTION_N
};

/* Administrative change of all recipients of one message. */
struct queue_admin_op {
	struct op op; /* STORE_QUEUE_ADMIN */
	uint64_t id;
	uint8_t action;   /* enum queue_action */
	int8_t priority;  /* QUEUE_PRIORITY: MESSAGE_PRIORITY_MIN .. MAX */
	uint32_t changed; /* out: recipients touched */
};

/* What an operator means.  Empty: any.  Addresses and domains in any case. */
struct queue_filter {
	char sender[ADDRESS_MAX + 1], recipient[ADDRESS_MAX + 1], domain[DOMAIN_MAX + 1];
	uint64_t received_before_ms; /* 0: any */
};

/* Where a walk of the queue stands: along its index first, when that leads, and then through what
 * is not in it yet (db_queue_index.h).  Of a walk without an index only id counts. */
struct queue_at {
	uint64_t id;
	uint64_t run, young;
	uint32_t hash, rcpt;
	uint8_t phase; /* 0: at its beginning */
};

/* Administrative change by filter, a bounded slice of it in one transaction: submit again until
 * end.  With a sender, recipient or domain the index leads; else all messages are walked. */
struct queue_slice_op {
	struct op op;                      /* STORE_QUEUE_SLICE */
	uint8_t action;                    /* enum queue_action */
	int8_t priority;                   /* QUEUE_PRIORITY */
	uint32_t max_rows;                 /* recipients looked at, at most; 0: 256 */
	const struct queue_filter *filter; /* requester's memory */
	struct queue_at at;                /* in: zeros; out: where to go on */
	bool end;                          /* out */
	uint64_t messages, recipients;     /* out: changed in this slice */
	uint64_t counted_id;               /* in: 0; the writer's: message counted last */
	uint64_t next_counted_id;          /* the writer's, as the next */
	struct queue_at next;
};

/* Ready hint, writer -> delivery core, as the void * of a hints ring (rank: the queue id).  Either
 * a new message with a reference that passes to the consumer, or the tagged id of a message whose
 * schedule an operator changed, to be read from the store.  No memory of its own. */
static inline void *ready_hint_of_message(struct message *m)
{
	return m;
}

static inline void *ready_hint_of_id(uint64_t id)
{
	BUG_ON(id >> 63); /* 47 bits of milliseconds last until the year 6429 */
	return (void *)(uintptr_t)(id << 1 | 1);
}

/* Returns the id; *message_r is the message (its reference is now the caller's) or NULL. */
static inline uint64_t ready_hint_take(void *hint, struct message **message_r)
{
	uintptr_t v = (uintptr_t)hint;

	*message_r = v & 1 ? NULL : (struct message *)hint;
	return v & 1 ? (uint64_t)v >> 1 : (*message_r)->id;
}

/* A recipient of the schedule, 32 octets and then the domain. */
struct schedule_row {
	uint64_t next_ms, id;
	uint32_t rcpt;
	uint8_t state; /* enum queue_state */
	uint8_t domain_n;
	uint16_t attempts;
	int8_t priority;
	uint8_t reserved[7];
	/* domain_n octets follow, then padding to 8 */
};

/* A slice of the schedule in order of next attempt, from (from_ms, from_id, from_rcpt) on. */
struct schedule_read_op {
	struct op op;              /* STORE_READ_SCHEDULE */
	uint64_t from_ms, from_id; /* in: first key; out: where to go on */
	uint32_t from_rcpt;
	uint32_t max_rows;
	bool end;         /* out: nothing after this slice */
	struct chain out; /* schedule_row records; none straddles two chunks */
};

/* One message of the queue, to be delivered or shown. */
struct queue_read_op {
	struct op op; /* STORE_READ_QUEUE; status -ENOENT: gone meanwhile */
	uint64_t id;
	struct message *message; /* out: envelope and prefix, without body; reference passes.  rcpts
				  * are all recipients still queued */
	struct chain rows;       /* out: struct queue_rcpt_row, one per recipient of message */
	uint64_t body_bytes;     /* out */
	uint64_t expire_ms;      /* out */
};

struct queue_rcpt_row {
	uint32_t rcpt; /* index that results refer to */
	uint8_t state; /* enum queue_state */
	uint8_t reason_n;
	uint16_t code;
	uint32_t attempts;
	int8_t priority;
	uint8_t reserved[3];
	uint64_t next_ms;
	char reason[STORE_REASON_MAX];
};

/* For `queue list`: the same records message by message, from an id on. */
struct queue_list_op {
	struct op op; /* STORE_READ_QUEUE_LIST */
	/* in: the first id (with a recipient or domain 0), else zeros; out: where to go on */
	struct queue_at at;
	/* NULL: all; requester's memory.  With a sender, recipient or domain the index leads, and
	 * messages come in its order. */
	const struct queue_filter *filter;
	uint32_t max_messages;
	bool end;
	struct chain out; /* JSON text: one object per line, ready for the admin socket */
};

/* As operators see a recipient's state. */
static inline const char *store_state_name(uint8_t state)
{
	return state == QUEUE_HELD ? "held" : state == QUEUE_MOVING ? "moving" : "scheduled";
}

/* ---- between shards: writer_move.c, courier.h ---- */

#define MOVE_RCPTS_MAX                                                                             \
	(2 * MESSAGE_RCPT_MAX) /* of one message: what it has, and behind aliases                  \
				*/

struct move_rcpt {
	uint32_t rcpt, account;
	bool taken; /* IN: out; OUT: in.  Else refused: its mailbox is full or gone */
	bool known; /* IN: the writer's */
};

/* Recipients of message `id` of another shard, for accounts of this one.  `message` has its content
 * and envelope under an id that nobody has used; streamed like any other above 256 KiB. */
struct move_in_op {
	struct op op; /* STORE_MOVE_IN; status as of HANDOFF_ACCEPT */
	uint64_t id;
	struct message *message; /* requester's */
	uint32_t count;
	struct move_rcpt *rcpts; /* requester's memory */
};

/* These recipients have been dealt with in `shard`. */
struct move_out_op {
	struct op op; /* STORE_MOVE_OUT */
	uint64_t id;
	uint32_t shard, count;
	const struct move_rcpt *rcpts; /* requester's memory */
};

/* Nobody will bring recipients of this message again. */
struct move_forget_op {
	struct op op; /* STORE_MOVE_FORGET */
	uint64_t id;
};

struct move_row {
	uint64_t id;
	uint32_t rcpt, account;
};

/* What is on its way to `shard`, from a message on; all recipients of a message are in one slice.
 */
struct moves_read_op {
	struct op op; /* STORE_READ_MOVES */
	uint32_t shard;
	uint32_t max_rows; /* about */
	uint64_t from_id;  /* in; out: where to go on */
	bool end;
	struct chain out; /* struct move_row records; none straddles two chunks */
};

/* The first message at or after from_id of which another shard has brought recipients. */
struct dedup_read_op {
	struct op op; /* STORE_READ_DEDUP */
	uint64_t from_id;
	bool end;    /* out: none */
	uint64_t id; /* out */
};

/* Content of a stored message.  View = prefix then body; relay leaves out the first
 * prefix_local octets. */
struct body_read_op {
	struct op op; /* STORE_READ_BODY; -EIO: checksum */
	uint64_t blob;
	uint64_t offset;  /* in the view */
	uint32_t max;     /* octets wanted, <= 256 KiB */
	bool relay;       /* else the mailbox's view */
	uint64_t total;   /* out: octets of the whole view */
	struct chain out; /* out: up to max octets; short only at the end */
};

/* What was found out about a body once (its parts, its ENVELOPE, for IMAP) and is kept with it; the
 * store does not look into it. */
#define SHAPE_MAX (64 * 1024) /* octets; chosen: larger ones are found out each time */

/* Shapes of some bodies: of one that has a shape, or is gone, it is passed over. */
struct shape_op {
	struct op op;      /* STORE_SHAPE */
	struct chain data; /* for each a struct shape_head and its octets; the writer frees it */
};

struct shape_head {
	uint64_t blob;
	uint32_t octets;  /* 1 .. SHAPE_MAX */
	uint32_t replace; /* 1: what is there cannot be used */
};

struct shape_read_op {
	struct op op; /* STORE_READ_SHAPE; -ENOENT: none yet; -EIO: checksum */
	uint64_t blob;
	struct chain out;
};

/* ================= mailboxes ================= */

#define MBOX_NAME_MAX     480 /* octets, UTF-8; LMDB key limit */
#define MBOX_KEYWORDS_MAX 32

enum msg_flag { /* IMAP system flags, in the row */
	MSG_SEEN = 1 << 0,
	MSG_ANSWERED = 1 << 1,
	MSG_FLAGGED = 1 << 2,
	MSG_DELETED = 1 << 3,
	MSG_DRAFT = 1 << 4,
};

/* RFC 6154: what a mailbox is for. */
enum mbox_special {
	SPECIAL_NONE,
	SPECIAL_ALL,
	SPECIAL_ARCHIVE,
	SPECIAL_DRAFTS,
	SPECIAL_FLAGGED,
	SPECIAL_JUNK,
	SPECIAL_SENT,
	SPECIAL_TRASH,
	SPECIAL_N
};

/* State of a mailbox as stored. */
struct mbox_state {
	uint32_t box, uidvalidity, uidnext, exists, unseen, deleted;
	uint64_t highestmodseq, bytes;
	uint64_t gone_floor; /* what vanished up to this modseq may have been forgotten */
	uint8_t special;     /* enum mbox_special */
};

/* What vanished from a mailbox after since_modseq: runs of UIDs in order of their modseq.  Below
 * gone_floor the answer is not complete: then everything that is not there has vanished (RFC 7162
 * 3.2.5.2 allows to say so). */
struct mbox_gone_op {
	struct op op; /* STORE_READ_MBOX_GONE */
	uint32_t account, box;
	uint64_t since_modseq; /* in; out: where to go on */
	uint32_t since_uid;    /* in: 0; out: where to go on */
	uint64_t gone_floor;   /* out */
	bool end;
	struct chain out; /* struct mbox_gone records; none straddles two chunks */
};

struct mbox_gone {
	uint32_t first, last;
	uint64_t modseq;
};

/* One message of a mailbox, fixed size, in UID order. */
struct mbox_row {
	uint32_t uid, flags; /* enum msg_flag */
	uint64_t blob, modseq;
	uint64_t size;             /* octets of the mailbox view: RFC822.SIZE */
	uint64_t internal_ms;      /* INTERNALDATE, UTC */
	uint32_t keywords;         /* bit i: keyword i of the mailbox */
	int16_t internal_zone_min; /* offset of INTERNALDATE's zone */
	uint16_t reserved;
};
static_assert(sizeof(struct mbox_row) == 48, "mbox_row is a stored record");

struct mbox_read_op {
	struct op op; /* STORE_READ_MBOX_OPEN, STORE_READ_MBOX_ROWS */
	uint32_t account;
	struct bytes name; /* OPEN: mailbox name, UTF-8; INBOX in any case */
	uint32_t box;      /* OPEN: out; ROWS: in */
	uint32_t from_uid; /* ROWS: in: first uid; out: where to go on */
	uint32_t max_rows;
	uint64_t since_modseq; /* ROWS: only rows changed after this; 0: all */
	bool end;
	struct mbox_state state; /* out, both */
	struct chain out; /* ROWS: mbox_row records; none straddles two chunks.  OPEN: keywords,
			   * each NUL-terminated, in bit order */
};

struct mbox_list_op {
	struct op op; /* STORE_READ_MBOX_LIST */
	uint32_t account;
	struct bytes from; /* in: first name (exclusive); empty: from the start */
	bool end;
	struct chain out; /* records: u16 n, u8 subscribed, u8 special, then n octets of name;
			   * 4-aligned; none straddles two chunks; INBOX always exists */
};

/* Creates, deletes, renames, (un)subscribes.  DELETE of INBOX is -EINVAL. */
struct mbox_name_op {
	struct op op;
	uint32_t account;
	struct bytes name, new_name; /* requester's memory */
	bool subscribe;
	/* STORE_MBOX_SPECIAL; STORE_MBOX_CREATE.  -EBUSY: another mailbox has it */
	uint8_t special;
};

enum flags_mode { FLAGS_ADD, FLAGS_REMOVE, FLAGS_REPLACE };

/* A change to messages of one mailbox, named by UIDs in ascending order; UIDs without a message are
 * passed over.  One op is one transaction that everybody waits for: give at most some thousand UIDs
 * at a time. */
struct mbox_op {
	struct op op; /* STORE_FLAGS, STORE_COPY, STORE_EXPUNGE, STORE_TRANSFER */
	uint32_t account, box;
	const uint32_t *uids; /* requester's memory */
	uint32_t uid_count;
	uint8_t mode;          /* STORE_FLAGS: enum flags_mode */
	uint32_t flags;        /* STORE_FLAGS */
	struct chain keywords; /* STORE_FLAGS: keyword names, NUL-terminated; writer frees */
	struct bytes target;   /* STORE_COPY, _TRANSFER: mailbox name; -ENOENT: TRYCREATE */
	uint32_t target_uidvalidity, target_first_uid; /* out: the same */
	uint32_t changed;                              /* out: messages touched */
	uint64_t modseq;                               /* out: modseq given to them */
};

/* IMAP APPEND: body in message->body (streamed above 256 KiB like SMTP's), no recipients. */
struct append_op {
	struct op op; /* STORE_APPEND */
	uint32_t account;
	struct bytes target; /* mailbox name */
	struct message *message;
	uint32_t flags;
	struct chain keywords;
	uint64_t internal_ms;
	int16_t internal_zone_min;
	uint32_t uidvalidity, uid; /* out */
};

/* Change hint, writer -> control core: something happened in a mailbox; look there. */
static inline uint64_t mbox_event(uint32_t account, uint32_t box)
{
	return (uint64_t)account << 32 | box;
}

/* When the latest change of a mailbox was committed (monotonic), for measuring: mailboxes share
 * stamps, so that one may be younger than it should be. */
#define STORE_STAMPS 4096 /* chosen: 32 KiB */
static inline unsigned mbox_event_stamp(uint64_t event)
{
	return (unsigned)((event ^ event >> 32) * 0x9e3779b97f4a7c15ull >> 52);
}
static_assert(STORE_STAMPS == 1 << (64 - 52), "the hash's upper bits name a stamp");

/* ================= accounts ================= */

#define PASSWORD_HASH_MAX 384

enum account_action {
	ACCOUNT_ADD,
	ACCOUNT_PASSWORD,
	ACCOUNT_DELETE,
	ACCOUNT_QUOTA,   /* quota_bytes, quota_messages */
	ACCOUNT_DISABLE, /* no login, no mail: 550 5.2.1 */
	ACCOUNT_ENABLE
};

struct account_op {
	struct op op; /* STORE_ACCOUNT; -EEXIST, -ENOENT */
	uint8_t action;
	struct bytes address;             /* canonical; requester's memory */
	struct bytes hash;                /* crypt(3) string; never a password */
	const struct scram_record *scram; /* NULL: none, no SCRAM login; requester's memory */
	uint64_t quota_bytes;             /* 0: the configuration's; UINT64_MAX: none */
	uint32_t quota_messages;
	uint32_t account; /* out */
	bool over;        /* out: it is enabled, and full */
};

/* An address that stands for others: "name@domain", or "@domain" for all that the domain has not
 * (catch-all).  Targets may be local, other aliases, or elsewhere. */
struct alias_op {
	struct op op; /* STORE_ALIAS; -EEXIST; -ENOENT; -ELOOP: it would come back to itself */
	bool remove;  /* else it is made, or its targets are replaced */
	struct bytes address; /* canonical; requester's memory */
	struct bytes targets; /* canonical addresses, each with a NUL behind it */
	uint32_t alias;       /* out: its number */
};

/* A local domain beside those of the configuration. */
struct domain_op {
	struct op op; /* STORE_DOMAIN; -EEXIST; -ENOENT */
	bool remove;
	struct bytes name; /* lower case */
};

struct names_list_op {
	struct op op;               /* STORE_READ_ALIASES, STORE_READ_DOMAINS */
	char from[ADDRESS_MAX + 1]; /* in/out: the last one given, or "" */
	bool end;
	struct chain out; /* JSON text, one object per line */
};

struct credentials_op {
	struct op
		op; /* STORE_READ_CREDENTIALS; -ENOENT: unknown (run a dummy check all the same) */
	struct bytes address;
	uint32_t account;             /* out */
	uint32_t hash_n;              /* out */
	char hash[PASSWORD_HASH_MAX]; /* out, NUL-terminated */
	bool has_scram;               /* out */
	struct scram_record scram;    /* out */
};

/* What an account has and may have; a limit of 0: none. */
struct quota_read_op {
	struct op op; /* STORE_READ_QUOTA */
	uint32_t account;
	uint64_t bytes, messages, bytes_max, messages_max; /* out */
};

struct accounts_list_op {
	struct op op;          /* STORE_READ_ACCOUNTS */
	uint32_t from_account; /* in/out */
	bool end;
	struct chain out; /* JSON text, one object per line: address, messages, bytes */
};

/* ================= looking after it ================= */

struct check;

/* The check of the whole store, slice by slice: submit again until end. */
struct store_check_op {
	struct op op;        /* STORE_READ_CHECK */
	struct check *check; /* NULL at first; the reader's, gone at the end or after an error */
	bool stop;           /* in: end now */
	bool end;            /* out */
	uint64_t problems, lost, busy, unlisted; /* out: so far */
	uint64_t blobs, body_bytes, queued, recipients, accounts, mailboxes, messages; /* out */
	struct chain out; /* JSON text, one object per problem */
};

struct store_stat_op {
	struct op op;     /* STORE_READ_STAT */
	struct chain out; /* JSON text, one object per table; the first: the file */
};

/* Growth that ends a backup, unless asked otherwise: a quarter of the file, 1 GiB at least. */
#define STORE_BACKUP_GROWTH_PART 4
#define STORE_BACKUP_GROWTH_MIN  (1ull << 30)

/* ================= life cycle: main thread ================= */

/* Opens (creates) the environment, sweeps incoming blobs, loads the directory.  On failure returns
 * -errno and a message that names the path in error[].  Starts no thread. */
int store_open(const struct store_conf *conf, struct store **store_r, char *error,
	size_t error_n) WARN_UNUSED;
/* Services to which channels are added before store_start. */
struct service *store_writer(struct store *s);
unsigned store_reader_count(const struct store *s);
struct service *store_reader(struct store *s, unsigned i);
/* Where the writer announces: queued mail to delivery worker i of n (by hash of the recipient's
 * domain, store_domain_owner), mailbox events to control cores.  Before store_start. */
int store_add_ready(struct store *s, struct hints *h) WARN_UNUSED;
int store_add_events(struct store *s, struct hints *h) WARN_UNUSED;
/* STORE_STAMPS times, written before the event is put on its rings; any thread reads them. */
const _Atomic uint64_t *store_event_stamps(const struct store *s);
unsigned store_domain_owner(struct bytes domain, unsigned workers);
/* Where the name of an account or alias is, in any case of letters. */
unsigned store_address_shard(struct bytes address, unsigned shards);
/* Where an account's or alias' rows are: the shard of its name, for that gives out the number. */
static inline unsigned store_account_shard(uint32_t account, unsigned shards)
{
	return shards <= 1 ? 0 : account % shards;
}
int store_start(struct store *s) WARN_UNUSED;
/* Finishes what is on the rings, commits, ends the threads. */
void store_stop(struct store *s);
void store_close(struct store **s);

const struct directory *store_directory(const struct store *s);
/* Sixteen octets that belong to this store and are never told: for answers that must stay the same.
 */
const uint8_t *store_secret(const struct store *s);
/* Highest id ever stored: floor for ids_init. */
uint64_t store_last_id(const struct store *s);

/* A hot copy into a directory; growth_max 0: the default.  Main thread; one at a time (-EBUSY). */
int store_backup_start(struct store *s, const char *directory, uint64_t growth_max, char *error,
	size_t error_n) WARN_UNUSED;
/* 1 while it runs, 0 done, -1 failed with a text. */
int store_backup_poll(struct store *s, uint64_t *octets_r, char *error, size_t error_n);
/* Its moment has come: what is committed from now on is not in it. */
bool store_backup_begun(const struct store *s);
void store_backup_cancel(struct store *s);

enum store_health { STORE_OK, STORE_FULL, STORE_FAILED };

struct store_info {
	enum store_health health;
	uint64_t file_bytes, disk_free_bytes, reserve_bytes;
	uint64_t queued_messages, queued_recipients; /* as of the last commit */
	uint64_t accounts;
	double group_mean; /* operations per commit, recent */
};
/* Any thread. */
void store_get_info(const struct store *s, struct store_info *info_r);
