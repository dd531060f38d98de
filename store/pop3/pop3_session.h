/* SPDX-License-Identifier: BSD-3-Clause
 * POP3 engine (RFC 1939, 2449 CAPA, 2595 STLS, 3206 AUTH-RESP-CODE): no I/O, no clock, no heap.
 * Lines in, replies out through engine.out, store ops through the host.  The message list is copied
 * at login; DELE is applied at QUIT, and a connection that is lost deletes nothing.
 *
 * OWNER: one core's thread. */
#pragma once
#include "store/access/access_engine.h"
#include "store/access/chunk_array.h"

#define POP3_LINE_MAX       600 /* octets with CRLF; RFC 2449 4 says 255, passwords here may have 512 */
#define POP3_ERRORS_MAX     20 /* -ERR replies to bad commands before the end; chosen */
#define POP3_LOGINS_MAX     5  /* failed logins of a connection; chosen */
#define POP3_LOGIN_DELAY_US (2 * US_PER_SEC) /* reply to a failed login comes no sooner */
#define POP3_SLICE          (64 * 1024)      /* octets of a message asked for at a time */
#define POP3_RETRY_US       (20 * US_PER_MS) /* chunk pool empty: look again */

enum pop3_state {
	POP3_IN_AUTH = 1 << 0,
	POP3_IN_TRANSACTION = 1 << 1,
	POP3_ENDED = 1 << 2,
};

/* A message as it was at login. */
struct pop3_row {
	uint32_t uid;
	uint32_t deleted;
	uint64_t size, blob;
};

struct pop3_session {
	struct access_engine engine; /* first */
	enum pop3_state state;
	uint8_t errors, failed_logins;
	bool line_skip;  /* the line is too long: drop it up to its end */
	bool timer_wait; /* the timer's run continues */
	uint16_t line_n, user_n;
	char line[POP3_LINE_MAX];
	char user[ADDRESS_MAX];
	/* What is under way: called until it clears itself.  NULL: reading commands. */
	void (*step)(struct pop3_session *s);
	enum login_result login_result;
	uint32_t account, box, uidvalidity;
	struct chunk_array rows; /* struct pop3_row */
	uint32_t deleted;        /* messages marked */
	uint64_t bytes, deleted_bytes;
	bool locked;
	bool dropping; /* the end after hangup has begun */
	/* a listing */
	uint32_t at;
	bool uidl;
	/* RETR and TOP */
	uint64_t blob, offset, total;
	uint64_t lines_left; /* TOP: body lines still to send; UINT64_MAX: all */
	bool in_body, begun;
	uint8_t last[2]; /* the octets sent last, for byte-stuffing and the header's end */
	uint32_t row;
	struct chain slice;
	struct chunk *uids; /* QUIT: UIDs of one STORE_EXPUNGE */
	bool expunge_failed;
	union {
		struct op op;
		struct mbox_read_op mbox;
		struct body_read_op body;
		struct mbox_op change;
	} u;
};

/* Fill in engine.ops and initial state; the host has set the rest of engine. */
void pop3_session_init(struct access_engine *e);
