/* SPDX-License-Identifier: BSD-3-Clause
 * The sink: a mail server that takes everything, checks what it takes and keeps nothing of it, or
 * fails as it was told.  By smtp/session.  OWNER: the engine's thread; main reads the figures. */
#pragma once
#include "bench/conn.h"
#include "bench/hist.h"
#include "bench/ledger.h"
#include "smtp/reply.h"

enum sink_stage {
	SINK_CONNECT,
	SINK_HELO,
	SINK_MAIL,
	SINK_RCPT,
	SINK_DATA,
	SINK_END, /* of data */
	SINK_STAGE_N
};
extern const char *const sink_stage_names[SINK_STAGE_N];

enum sink_failure {
	SINK_4XX,
	SINK_5XX,
	SINK_421,  /* and the end of the session */
	SINK_DROP, /* RST instead of a reply */
	SINK_FAILURE_N
};
extern const char *const sink_failure_names[SINK_FAILURE_N];

#define SINK_DUMP_START_MAX 256 /* octets with the NUL */

struct sink_conf {
	struct endpoint at;
	uint32_t sessions_max;
	double fail[SINK_STAGE_N][SINK_FAILURE_N]; /* shares, 0..1 */
	uint64_t delay_us[SINK_STAGE_N];
	/* 0: just so long; else as many times that as a die falls until it shows more */
	double delay_odds[SINK_STAGE_N];
	uint64_t read_delay_us; /* content is not read for so long, after the answer to DATA */
	bool aborts;            /* instead of reading it: 550 after read_delay_us, and the end */
	uint64_t timeout_us;    /* a silent session; 0: 300 s */
	/* Mutants, for the tests of the proof: every n-th message is answered 250 and forgotten,
	 * noted twice, or noted with an octet changed.  0: never. */
	uint32_t lose, twice, alter;
	char hostname[256];
	uint16_t withheld; /* enum reply_ehlo, EHLO_NO_... */
	bool no_auth;      /* AUTH is not offered; else anybody's password is right */
	char soft[REPLY_WORDS_MAX], hard[REPLY_WORDS_MAX]; /* of 4xx, of 5xx; empty: ours */
	/* Files for strftime(3): one for each message, or one for all.  NULL: none. */
	const char *dump_each, *dump_all;
	char dump_start[SINK_DUMP_START_MAX]; /* before each message */
	bool starttls, tls, lmtp;
};

struct sink_figures {
	_Atomic uint64_t connections, messages, rcpts, octets;
	_Atomic uint64_t altered, foreign;
	_Atomic uint64_t failures[SINK_STAGE_N][SINK_FAILURE_N]; /* of those asked for */
	_Atomic uint64_t ended;                                  /* sessions */
	_Atomic uint64_t undumped;          /* messages that could not be written */
	_Atomic uint64_t first_us, last_us; /* messages */
	struct hist end_to_end_us;          /* from a source on the same machine */
};

struct sink;

struct sink *sink_create(const struct sink_conf *conf, struct engine *e, const struct conn_tls *tls,
	struct ledger *ledger);
void sink_destroy(struct sink **s);
/* 0 or -errno. */
int sink_listen(struct sink *s) WARN_UNUSED;
unsigned sink_poll(void *sink, uint64_t now_us);
struct sink_figures *sink_figures(struct sink *s);
/* Any thread: sessions. */
uint32_t sink_open(const struct sink *s);
