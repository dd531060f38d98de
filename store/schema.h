/* SPDX-License-Identifier: BSD-3-Clause
 * What is on disk: keys and records of the environment.  Keys are big-endian fixed-width integers,
 * so that the order of the B-tree is the numeric order and rows of one account or message lie
 * together; records are the structs below in the byte order of the machine (little-endian,
 * asserted), followed by octets of variable number.  No thread: pure layout. */
#pragma once
#include "dataplane/base/bytes.h"
#include "dataplane/base/rt/chunk.h"
#include "smtp/envelope.h"
#include "smtp/scram.h"
#include "store/store.h"

/* Meta "format"; raised with every change that older code cannot read.  2: queue rows with ENVID
 * and ORCPT, accounts with SCRAM records, whose lengths are 0 in rows of format 1.  3: quotas, the
 * log of vanished messages, aliases and domains, the queue by sender and by recipient (upgrade:
 * db_upgrade.c).  4: priorities in the queue's rows, where rows of format 3 have zeros, which is
 * the priority of mail that has none; shapes, which are made when they are first wanted.  5: one
 * index of the queue, made of runs (db_queue_index.h), in the place of two trees.  6: a journal,
 * and bodies in it (journal.h). */
#define STORE_FORMAT     6
#define STORE_FORMAT_MIN 1 /* what is brought up to date when it is opened */

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");

/* Sub-databases: DB(identifier, name, what is in it).  Rows in the journal have their numbers: new
 * ones at the end. */
#define DB_TABLE(DB)                                                                               \
	DB(META, "meta", "name -> number: format, last_id, next_account")                          \
	DB(BLOB, "blob", "blob u64 -> blob_rec, prefix, CRCs of the last run of chunks")           \
	DB(CHUNK, "chunk", "blob u64, number u32 -> <= 4080 octets of the body")                   \
	DB(CRC, "crc", "blob u64, first chunk u32 -> CRC-32C of each chunk of a streamed run")     \
	DB(INCOMING, "incoming", "blob u64 -> incoming_rec: parts without an accept")              \
	DB(GC, "gc", "kind u32, account u32, number u64 -> gc_rec: what is to be freed")           \
	DB(Q, "q", "id u64 -> q_rec, sender, ENVID")                                               \
	DB(QR, "qr", "id u64, recipient u32 -> qr_rec, address, ORCPT, reason")                    \
	DB(QT, "qt", "next attempt ms u64, id u64, recipient u32 -> qt_rec, domain")               \
	DB(BOX, "box", "account u32, box u32 -> box_rec, name, keywords")                          \
	DB(BOXNAME, "boxname", "account u32, name -> boxname_rec")                                 \
	DB(MSG, "msg", "account u32, box u32, uid u32 -> struct mbox_row")                         \
	DB(MOD, "mod", "account u32, box u32, modseq u64, uid u32 -> nothing")                     \
	DB(ACCT, "acct", "account u32 -> acct_rec, address")                                       \
	DB(ACCTNAME, "acctname", "address -> acctname_rec, password hash, SCRAM record")           \
	DB(GONE, "gone", "account u32, box u32, modseq u64, first uid u32 -> last uid u32")        \
	DB(ALIAS, "alias", "alias u32 -> address, targets, each with its NUL")                     \
	DB(DOMAIN, "domain", "name -> nothing: domains beside those of the configuration")         \
	DB(SHAPE, "shape",                                                                         \
		"blob u64, number u32 -> number 0: shape_rec; <= 4080 octets of a shape")          \
	DB(QI, "qi",                                                                               \
		"run u64, hash u64, hash of the address u32, id u64, recipient u32 -> nothing")    \
	DB(MOVE, "move", "shard u32, id u64, recipient u32 -> nothing: on the way to that shard")  \
	DB(DEDUP, "dedup", "id u64, recipient u32 -> dedup_rec: has come from another shard")      \
	DB(EXTENT, "extent", "blob u64, first chunk u32 -> extent_rec: chunks in the journal")     \
	DB(SLOT, "slot", "slot of the journal u32 -> slot_rec: what of it is referred to")

enum db_id {
#define DB(id, name, what) DB_##id,
	DB_TABLE(DB)
#undef DB
		DB_N
};

/* ---- keys ---- */

#define KEY_MAX 511 /* LMDB's */
static_assert(MBOX_NAME_MAX + 4 <= KEY_MAX, "a mailbox name is part of a key");
static_assert(ADDRESS_MAX <= KEY_MAX, "an address is a key");

struct key {
	uint8_t p[KEY_MAX];
	uint16_t n;
};

static inline void key_u32(struct key *k, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(k->p + k->n, &v, sizeof(v));
	k->n = (uint16_t)(k->n + sizeof(v));
}

static inline void key_u64(struct key *k, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(k->p + k->n, &v, sizeof(v));
	k->n = (uint16_t)(k->n + sizeof(v));
}

static inline uint32_t key_get_u32(struct bytes k, size_t at)
{
	uint32_t v;

	BUG_ON(at + sizeof(v) > k.n);
	memcpy(&v, k.p + at, sizeof(v));
	return __builtin_bswap32(v);
}

static inline uint64_t key_get_u64(struct bytes k, size_t at)
{
	uint64_t v;

	BUG_ON(at + sizeof(v) > k.n);
	memcpy(&v, k.p + at, sizeof(v));
	return __builtin_bswap64(v);
}

static inline struct bytes key_view(const struct key *k)
{
	return bytes_make(k->p, k->n);
}

/* Each fills k and returns a view of it. */
static inline struct bytes key_id(struct key *k, uint64_t id)
{
	k->n = 0;
	key_u64(k, id);
	return key_view(k);
}

static inline struct bytes key_id_n(struct key *k, uint64_t id, uint32_t n)
{
	k->n = 0;
	key_u64(k, id);
	key_u32(k, n);
	return key_view(k);
}

static inline struct bytes key_qt(struct key *k, uint64_t next_ms, uint64_t id, uint32_t rcpt)
{
	k->n = 0;
	key_u64(k, next_ms);
	key_u64(k, id);
	key_u32(k, rcpt);
	return key_view(k);
}

static inline struct bytes key_gc(struct key *k, uint32_t kind, uint32_t account, uint64_t number)
{
	k->n = 0;
	key_u32(k, kind);
	key_u32(k, account);
	key_u64(k, number);
	return key_view(k);
}

static inline struct bytes key_account(struct key *k, uint32_t account)
{
	k->n = 0;
	key_u32(k, account);
	return key_view(k);
}

static inline struct bytes key_box(struct key *k, uint32_t account, uint32_t box)
{
	k->n = 0;
	key_u32(k, account);
	key_u32(k, box);
	return key_view(k);
}

/* name: at most MBOX_NAME_MAX octets (the caller has checked). */
static inline struct bytes key_boxname(struct key *k, uint32_t account, struct bytes name)
{
	BUG_ON(name.n > MBOX_NAME_MAX);
	k->n = 0;
	key_u32(k, account);
	if (name.n)
		memcpy(k->p + k->n, name.p, name.n);
	k->n = (uint16_t)(k->n + name.n);
	return key_view(k);
}

static inline struct bytes key_msg(struct key *k, uint32_t account, uint32_t box, uint32_t uid)
{
	k->n = 0;
	key_u32(k, account);
	key_u32(k, box);
	key_u32(k, uid);
	return key_view(k);
}

static inline struct bytes key_mod(
	struct key *k, uint32_t account, uint32_t box, uint64_t modseq, uint32_t uid)
{
	k->n = 0;
	key_u32(k, account);
	key_u32(k, box);
	key_u64(k, modseq);
	key_u32(k, uid);
	return key_view(k);
}

/* hash: of a recipient's domain; or of the sender, then address is 0 and rcpt QI_SENDER. */
static inline struct bytes key_qi(
	struct key *k, uint64_t run, uint64_t hash, uint32_t address, uint64_t id, uint32_t rcpt)
{
	k->n = 0;
	key_u64(k, run);
	key_u64(k, hash);
	key_u32(k, address);
	key_u64(k, id);
	key_u32(k, rcpt);
	return key_view(k);
}

static inline struct bytes key_move(struct key *k, uint32_t shard, uint64_t id, uint32_t rcpt)
{
	k->n = 0;
	key_u32(k, shard);
	key_u64(k, id);
	key_u32(k, rcpt);
	return key_view(k);
}

/* ---- records ---- */

/* CRCs kept in the blob row itself; longer runs have rows of their own in crc. */
#define BLOB_CRC_INLINE 128

struct blob_rec {
	uint64_t size; /* octets of the body */
	uint64_t received_ms;
	uint32_t chunks; /* chunk i holds octets i * CHUNK_DATA and on */
	uint32_t refs;   /* mailbox rows, and 1 for the queue */
	uint32_t crc;    /* CRC-32C of the whole body */
	uint32_t header_bytes;
	uint32_t crc_first; /* number of the first chunk whose CRC is in this row */
	uint32_t prefix_crc;
	uint16_t prefix_n;     /* octets that stand before the body */
	uint16_t prefix_local; /* of these, seen in mailboxes only */
	uint8_t body_type;
	uint8_t in_journal; /* the chunks from crc_first on are not rows of chunk */
	uint8_t reserved[2];
	/* prefix_n octets, then (chunks - crc_first) CRCs of 4 octets; in_journal: then where in
	 * the journal those chunks are, u64 */
};
static_assert(sizeof(struct blob_rec) == 48, "stored record");
static_assert(MESSAGE_PREFIX_MAX <= UINT16_MAX, "prefix_n");
#define BLOB_ROW_MAX                                                                               \
	(sizeof(struct blob_rec) + MESSAGE_PREFIX_MAX + 4 * BLOB_CRC_INLINE + sizeof(uint64_t))

/* A run of chunks, whose CRCs are in a row of crc with the same key. */
struct extent_rec {
	uint64_t at;     /* in the journal */
	uint32_t octets; /* all chunks are full, but for the last of a body */
	uint32_t crc;    /* CRC-32C of all of it */
};
static_assert(sizeof(struct extent_rec) == 16, "stored record");

/* Of a slot of the journal. */
struct slot_rec {
	uint64_t live;    /* octets of bodies that are referred to */
	uint64_t changed; /* number of the transaction that was the last to change it */
};
static_assert(sizeof(struct slot_rec) == 16, "stored record");

/* In the first row of a shape: what follows in all its rows together. */
struct shape_rec {
	uint32_t octets, crc; /* CRC-32C */
};
static_assert(sizeof(struct shape_rec) == 8, "stored record");
#define SHAPE_ROW      (CHUNK_DATA - sizeof(struct shape_rec)) /* octets in a row; chosen: a page */
#define SHAPE_ROWS_MAX (SHAPE_MAX / SHAPE_ROW + 1)

struct incoming_rec {
	uint64_t size;
	uint32_t chunks;
	uint32_t reserved;
};
static_assert(sizeof(struct incoming_rec) == 16, "stored record");

/* GC_REF: the reference of a message that was expunged.  In the place of the account: seconds since
 * 1970 from which on nobody reads it any more; the number tells rows of one second apart. */
enum gc_kind { GC_BLOB = 1, GC_BOX = 2, GC_REF = 3 };

struct gc_ref_rec {
	uint64_t blob;
};
static_assert(sizeof(struct gc_ref_rec) == 8, "stored record");

struct gc_rec {
	uint32_t next;   /* GC_BLOB: first chunk not yet freed */
	uint32_t chunks; /* GC_BLOB */
};
static_assert(sizeof(struct gc_rec) == 8, "stored record");

struct q_rec {
	uint64_t received_ms, expire_ms;
	struct ip_addr peer;
	uint32_t pending; /* rows in qr */
	uint16_t sender_n;
	uint8_t body_type, smtputf8, bare;
	uint8_t ret; /* enum dsn_ret */
	uint8_t requiretls;
	uint8_t envid_n;
	int8_t priority; /* as the message came (RFC 6710) */
	uint8_t reserved[3];
	/* sender_n octets, envid_n octets */
};
static_assert(sizeof(struct q_rec) == 48, "stored record");

#define Q_ROW_MAX (sizeof(struct q_rec) + ADDRESS_MAX + DSN_ENVID_MAX)

struct qr_rec {
	uint64_t next_ms;
	uint32_t attempts; /* QUEUE_MOVING: the account that it is for */
	uint16_t code;
	uint16_t address_n, domain_at;
	uint8_t state; /* enum queue_state */
	uint8_t notify;
	uint8_t reason_n;
	int8_t priority; /* that of the message, until an operator says another */
	uint16_t orcpt_n;
	/* address_n octets, orcpt_n octets, reason_n octets */
};
static_assert(sizeof(struct qr_rec) == 24, "stored record");

/* Meta "queue_index": what the index of the queue has (db_queue_index.h). */
struct queue_index_rec {
	uint64_t run;   /* the newest run: its first id */
	uint64_t from;  /* what is queued below it is in the index */
	uint64_t until; /* the newest run has what is queued from `run` on and below it */
};
static_assert(sizeof(struct queue_index_rec) == 24, "stored record");
#define QI_SENDER    UINT32_MAX
#define QI_NONE      (UINT32_MAX - 1)
#define QI_KEY       32     /* octets */
#define QI_YOUNG_MAX 100000 /* counted; chosen: some 3 ms */

/* A recipient that another shard has brought: what has been done about it. */
struct dedup_rec {
	uint64_t at_ms;
	uint8_t taken; /* else refused */
	uint8_t reserved[7];
};
static_assert(sizeof(struct dedup_rec) == 16, "stored record");

/* What the schedule needs, so that loading it is one sequential scan. */
struct qt_rec {
	uint16_t attempts;
	uint8_t state_priority; /* qt_state_priority */
	uint8_t domain_n;
	/* domain_n octets */
};
static_assert(sizeof(struct qt_rec) == 4, "stored record");

/* enum queue_state in three bits, the priority in five. */
#define QT_STATE_BITS 3
static_assert(QUEUE_HELD < 1 << QT_STATE_BITS, "a state fits");
static_assert(MESSAGE_PRIORITY_MIN >= -16 && MESSAGE_PRIORITY_MAX < 16, "a priority fits");

static inline uint8_t qt_state_priority(uint8_t state, int8_t priority)
{
	return (uint8_t)(state | (uint8_t)priority << QT_STATE_BITS);
}
static inline uint8_t qt_state(const struct qt_rec *r)
{
	return r->state_priority & ((1 << QT_STATE_BITS) - 1);
}
static inline int8_t qt_priority(const struct qt_rec *r)
{
	return (int8_t)((int8_t)r->state_priority >> QT_STATE_BITS);
}

#define KEYWORD_MAX    64 /* octets of one keyword, chosen */
#define KEYWORDS_BYTES (MBOX_KEYWORDS_MAX * (KEYWORD_MAX + 1))

struct box_rec {
	uint32_t uidvalidity, uidnext, exists, unseen, deleted;
	uint16_t name_n, keywords_n;
	uint64_t highestmodseq, bytes;
	uint64_t gone_floor; /* modseq up to which rows of gone may be missing */
	uint32_t gone;       /* rows in gone */
	uint8_t special;     /* enum mbox_special */
	uint8_t reserved[3];
	/* name_n octets; keywords_n octets: NUL-terminated keywords in bit order */
};
static_assert(sizeof(struct box_rec) == 56, "stored record");

struct boxname_rec {
	uint32_t box;
	uint8_t subscribed;
	uint8_t reserved[3];
};
static_assert(sizeof(struct boxname_rec) == 8, "stored record");

/* ACCT_ALIAS: only in acctname, where the number is that of an alias. */
enum acct_state { ACCT_OK = 0, ACCT_DISABLED = 1, ACCT_ALIAS = 2 };

/* Numbers of aliases, so that one cannot be taken for an account. */
#define ALIAS_FIRST 0x80000000u

struct acct_rec {
	uint64_t modseq;          /* highest given out in any mailbox of the account */
	uint64_t messages, bytes; /* in all mailboxes */
	uint64_t quota_bytes;     /* 0: the configuration's; UINT64_MAX: none */
	uint32_t next_box, next_uidvalidity, inbox, boxes;
	uint32_t quota_messages; /* 0: the configuration's; UINT32_MAX: none */
	uint16_t address_n;
	uint8_t state; /* enum acct_state */
	uint8_t over;  /* the directory says so */
		       /* address_n octets */
};
static_assert(sizeof(struct acct_rec) == 56, "stored record");

struct acctname_rec {
	uint32_t account;
	uint16_t hash_n;
	uint8_t state;   /* enum acct_state */
	uint8_t scram_n; /* 0, or sizeof(struct scram_record) */
			 /* hash_n octets: crypt(3), scram_n octets */
};
static_assert(sizeof(struct acctname_rec) == 8, "stored record");

/* Of one mailbox; the oldest go, and the floor rises. */
#define GONE_ROWS_MAX     10000 /* chosen: 0.5 MB; a client that comes back later learns all UIDs */
#define ALIAS_TARGETS_MAX 100   /* chosen */
#define ALIAS_DEPTH_MAX   8     /* aliases behind aliases; chosen */
#define ALIAS_TEXT_MAX    (ALIAS_TARGETS_MAX * (ADDRESS_MAX + 1))
#define ALIAS_ROW_MAX     (ADDRESS_MAX + 1 + ALIAS_TEXT_MAX)
#define EXPUNGED_READ_MS                                                                           \
	60000 /* what has been expunged can be read that long by who had seen it                   \
	       */

#define BOXES_PER_ACCOUNT_MAX 10000 /* chosen: bounds rename and account removal */
