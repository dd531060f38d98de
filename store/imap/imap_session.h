/* SPDX-License-Identifier: BSD-3-Clause
 * IMAP4rev1 engine (RFC 3501; LITERAL+ 7888, IDLE 2177, UIDPLUS 4315, NAMESPACE 2342, UNSELECT
 * 3691, ID 2971, SASL-IR 4959): no I/O, no clock, no heap.  A command is collected whole (but
 * APPEND's message, which streams), runs in steps that wait for store ops and for room in `out`,
 * and ends with its tagged reply; only then is the next one read.
 *
 * OWNER: one core's thread. */
#pragma once
#include "store/access/access_engine.h"
#include "store/access/chunk_array.h"

#define IMAP_COMMAND_MAX    ACCESS_COMMAND_BYTES /* octets of a command with its literals; chosen */
#define IMAP_ERRORS_MAX     20                   /* BAD replies of a connection in a row; chosen */
#define IMAP_LOGINS_MAX     5                    /* failed logins of a connection; chosen */
#define IMAP_LOGIN_DELAY_US (2 * US_PER_SEC)
#define IMAP_RETRY_US       (20 * US_PER_MS) /* no chunk or space: look again */
#define IMAP_SLICE          (256 * 1024)     /* octets of a message asked for at a time */
#define IMAP_ROWS_PER_STEP  2048             /* rows an index-only step looks at; chosen */
#define IMAP_RUN_COST       512   /* of steps in one run, each 1 or what it says; chosen */
#define IMAP_SET_RANGES_MAX 16384 /* ranges of one sequence set; chosen */
#define IMAP_TAG_MAX        64

enum imap_state {
	IMAP_ANY_STATE = 7,
	IMAP_NOT_AUTHENTICATED = 1,
	IMAP_AUTHENTICATED = 2,
	IMAP_SELECTED = 4,
};

enum imap_row_state {
	ROW_MARKED = 1 << 0,  /* named by the command's set */
	ROW_GONE = 1 << 1,    /* expunged, not announced yet */
	ROW_CHANGED = 1 << 2, /* flags changed, not announced yet */
	ROW_PRESENT = 1 << 3, /* met by the rescan under way */
};

/* A message of the selected mailbox, in order of UID; its index is the sequence number less one.
 * 12 octets: 1,387,200 messages can be selected. */
struct imap_row {
	uint32_t uid, keywords;
	uint8_t flags, state;
	int16_t delta; /* while a set is being marked */
};

struct imap_session;
typedef void (*imap_step)(struct imap_session *s);

/* A command as it arrives. */
struct imap_line {
	uint8_t *p;
	uint32_t n, cap;
	uint32_t from; /* where the current line began */
	uint32_t literal_left;
	struct chunk *chunk; /* memory of a short command */
	void *space;         /* of a long one */
	/* a command that is being dropped: why, and what is still to come of it */
	const char *skip;
	uint64_t skip_left;
	uint8_t tail_n;
	uint8_t tail[24];
};

struct imap_append {
	struct message *message; /* NULL: none under way */
	uint64_t left;           /* octets of the literal still to come */
	bool refused;            /* swallow the literal, then say so */
	bool had_parts;
	uint8_t scan; /* progress of looking for the empty line */
	uint32_t flags;
	uint64_t internal_ms;
	int16_t zone_min;
	struct bytes keywords; /* names, NUL-terminated, in the command's memory */
	const char *error;
};

struct imap_session {
	struct access_engine engine; /* first */
	enum imap_state state;
	uint8_t errors, failed_logins;
	bool timer_wait;
	imap_step step; /* the command under way; NULL: reading one */
	/* A line that belongs to the command under way (IDLE, AUTHENTICATE). */
	void (*continuation)(struct imap_session *s, struct bytes line);
	struct imap_line line;
	uint32_t cost; /* of the step that runs: IMAP_RUN_COST is all that one run may cost */
	bool parked;   /* step waits for a continuation line or a change */
	void (*release)(struct imap_session *s); /* frees what the command holds beside work */
	struct bytes tag;
	bool uid_form;
	struct chunk *work; /* the command's own state */
	/* its end */
	const char *reply;                          /* "OK done" */
	void (*reply_with)(struct imap_session *s); /* instead: says the tagged line itself */
	bool expunge_ok;                            /* EXPUNGE may be announced now */
	bool refresh_now;                           /* look for changes before the reply */
	bool idling;
	bool closing;
	bool subscribe;
	uint8_t special; /* CREATE: enum mbox_special; LIST: its options */
	bool drain;
	bool dropping;
	/* login */
	enum login_result login_result;
	uint32_t account;
	/* selected mailbox */
	bool read_only, dirty;
	uint32_t box, uidvalidity, uidnext;
	uint32_t announced; /* messages the client knows of */
	uint32_t first_unseen;
	uint32_t gone, changed; /* rows in these states */
	uint64_t modseq;        /* changes up to here are in rows */
	uint64_t scan_modseq;   /* of the refresh under way */
	uint32_t scan_exists;
	bool scan_first, rescan;
	uint32_t at, to;             /* cursors of the step under way */
	struct chunk_array rows;     /* struct imap_row */
	uint32_t marks_lo, marks_hi; /* no other row is marked or has a delta */
	struct chunk *keywords;      /* names, NUL-terminated, in bit order */
	uint32_t keyword_count;
	uint16_t box_name_n, name_n, name2_n;
	char box_name[MBOX_NAME_MAX]; /* the selected one, UTF-8 */
	char name[MBOX_NAME_MAX];     /* the command's */
	char name2[MBOX_NAME_MAX];
	uint32_t *uids; /* ACCESS_SPACE_UIDS */
	uint32_t uid_count;
	uint64_t names_octets; /* of LIST, read and not said yet */
	struct imap_append append;
	uint32_t append_uidvalidity, append_uid;
	struct chain copied; /* COPYUID of the COPY under way */
	imap_step next;      /* after a shared sub-step */
	union {
		struct op op;
		struct mbox_read_op mbox;
		struct mbox_list_op list;
		struct body_read_op body;
		struct mbox_op change;
		struct mbox_name_op name;
		struct append_op append;
		struct part_op part;
		struct drop_op drop;
		struct quota_read_op quota;
		struct shape_op shape;
		struct shape_read_op shape_read;
	} u;
	bool reading; /* the op in u is a reader's */
};

/* Fill in engine.ops and initial state; the host has set the rest of engine. */
void imap_session_init(struct access_engine *e);
