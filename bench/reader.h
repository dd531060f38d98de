/* SPDX-License-Identifier: BSD-3-Clause
 * The reader: fetches by POP3 or IMAP what was delivered into mailboxes, and checks it as the sink
 * does.  OWNER: the engine's thread; main reads the figures. */
#pragma once
#include "bench/conn.h"
#include "bench/hist.h"
#include "bench/ledger.h"

#define READER_NAME_MAX 200 /* octets of a mailbox's address */

struct reader_conf {
	struct endpoint to;
	/* One mailbox local@domain; several: 1local@domain, 2local@domain .., as the source names
	 * recipients.  All have this password. */
	char local[READER_NAME_MAX], domain[READER_NAME_MAX];
	uint32_t mailboxes;
	const char *password; /* borrowed */
	uint32_t sessions;    /* at a time */
	uint64_t expect;      /* messages to be read; 0: each mailbox is read once */
	double seconds;       /* at most; 0: no limit */
	uint64_t again_us;    /* POP3: between two looks at a mailbox */
	bool imap, tls;
};

struct reader_figures {
	_Atomic uint64_t connections, messages, octets, altered, foreign;
	_Atomic uint64_t failed; /* sessions that did not end in order */
	_Atomic uint64_t first_us, last_us;
	struct hist connect_us, end_to_end_us; /* from a source on the same machine */
	char first_failure[256];
	_Atomic bool finished;
};

struct reader;

struct reader *reader_create(const struct reader_conf *conf, struct engine *e,
	const struct conn_tls *tls, struct ledger *ledger);
void reader_destroy(struct reader **r);
unsigned reader_poll(void *reader, uint64_t now_us);
/* Any thread: read no more. */
void reader_end(struct reader *r);
struct reader_figures *reader_figures(struct reader *r);
uint32_t reader_open(const struct reader *r);
