/* SPDX-License-Identifier: BSD-3-Clause
 * A host for mailbox engines in tests: a small store in memory that answers their ops, and a driver
 * that feeds octets in pieces and collects what is said.  Used by the POP3 and the IMAP tests. */
#pragma once
#include "store/access/access_engine.h"

#define FAKE_BOXES    16
#define FAKE_MESSAGES 64
#define FAKE_OUTPUT   (8 * 1024 * 1024)

struct fake_message {
	struct mbox_row row;
	uint8_t *data;
	size_t n;
	uint8_t *shape;
	size_t shape_n; /* 0: none */
};

struct fake_box {
	bool used, subscribed;
	char name[MBOX_NAME_MAX + 1];
	struct mbox_state state;
	char keywords[MBOX_KEYWORDS_MAX][64];
	struct fake_message messages[FAKE_MESSAGES];
	uint32_t count;
};

struct fake {
	struct access_engine *engine;
	struct fake_box boxes[FAKE_BOXES];
	struct op *pending;
	bool pending_write;
	bool login_pending, timer_pending, again, ready;
	bool login_right;
	enum login_result login_force; /* LOGIN_OK: as the password says */
	uint64_t timer_us;             /* the last one asked for */
	uint32_t watched_box;
	bool locked, lock_refused;
	unsigned spaces_out;
	uint64_t ids;
	uint64_t modseq;
	uint64_t quota_bytes, quota_messages; /* 0: none */
	int fail_status;                      /* != 0: the next op ends so */
	uint16_t fail_kind;
	bool fail_write;
	uint32_t slice_rows;   /* rows per answer at most; 0: as asked */
	uint32_t slice_octets; /* octets per body slice at most; 0: as asked */
	unsigned ops;          /* answered so far */
	size_t parts_bytes;
	uint8_t *parts;
	uint64_t parts_blob;
	unsigned drops;
	unsigned shapes_made, shapes_read;
	char *out; /* everything said, NUL-terminated */
	size_t out_n;
	bool hold;   /* do not answer ops: fake_answer does */
	bool scarce; /* sessions may not grow */
	bool stuck;  /* the peer does not read */
};

/* engine_bytes of memory for the engine, initialised by init.  Starts it. */
void fake_start(struct fake *f, size_t engine_bytes, void (*init)(struct access_engine *e));
void fake_stop(struct fake *f);
struct fake_box *fake_box_add(struct fake *f, const char *name);
void fake_message_add(
	struct fake *f, struct fake_box *b, const char *text, size_t n, uint32_t flags);
/* Feed text in pieces of `piece` octets (0: whole), run to rest; returns what was said since the
 * last call (NUL-terminated; valid until the next). */
const char *fake_talk(struct fake *f, const char *text, size_t n, size_t piece);
/* One held op is answered. */
void fake_answer(struct fake *f);
void fake_pump(struct fake *f);
/* The connection is lost. */
void fake_hangup(struct fake *f);
