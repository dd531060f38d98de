/* SPDX-License-Identifier: BSD-3-Clause
 * The source: sessions that send numbered messages by smtp/client, as fast as they are answered
 * (closed loop) or at a rate (open loop; latency counts from when a message was meant to begin).
 * OWNER: the engine's thread; main reads the figures meanwhile, and may see some more or less. */
#pragma once
#include "bench/conn.h"
#include "bench/corpus.h"
#include "bench/hist.h"
#include "bench/ledger.h"
#include "bench/letter.h"
#include "smtp/client.h"

#define SOURCE_SIZES_MAX   64
#define SOURCE_DOMAINS_MAX 64
#define SOURCE_RCPTS_MAX   512
#define SOURCE_ADDRESS_MAX 200 /* octets, with the number before it */
#define SOURCE_TARGETS_MAX 64

enum source_stage { /* of a refusal: connecting, then the command */
	SOURCE_CONNECT,
	SOURCE_COMMANDS, /* and enum smtp_client_command */
	SOURCE_STAGE_N = SOURCE_COMMANDS + SMTP_COMMAND_OTHER + 1
};
extern const char *const source_stage_names[SOURCE_STAGE_N];

enum source_refusal { SOURCE_4XX, SOURCE_5XX, SOURCE_LOST, SOURCE_REFUSAL_N };

struct source_conf {
	struct endpoint to[SOURCE_TARGETS_MAX]; /* connections go to them in turn */
	unsigned to_count;
	struct ip_addr from; /* own address of the first connection; none: the engine's choice */
	uint32_t from_count; /* ... of the n-th the n-th from there on, in turn */
	uint32_t sessions;   /* -s */
	uint64_t messages;   /* -m; 0: until seconds have passed */
	double seconds;      /* 0: until messages were sent */
	double warm_up;      /* seconds that are not counted */
	double hold;         /* no messages: sessions are opened and held for seconds */
	uint32_t per_connection; /* 0: no limit (-d) */
	uint32_t rcpts;          /* -r */
	bool number_rcpts;       /* -N */
	double rate;             /* messages/s, open loop; 0: closed */
	double ramp;             /* seconds to come to that rate */
	uint64_t pause_us;       /* of a session between two messages */
	bool pause_varies;       /* ... from 0 to that */
	uint32_t tries;          /* connections that fail in a row end it; 0: none does */
	char sender[SOURCE_ADDRESS_MAX], to_local[SOURCE_ADDRESS_MAX];
	char hello[256];
	char subject[LETTER_SUBJECT_MAX]; /* empty: the message's number */
	struct {
		char name[SOURCE_ADDRESS_MAX];
		uint32_t weight;
	} domains[SOURCE_DOMAINS_MAX];
	unsigned domain_count;
	uint64_t sizes[SOURCE_SIZES_MAX]; /* in turn; one: fixed */
	unsigned size_count;
	double lognormal_median, lognormal_sigma; /* median 0: the list */
	uint64_t size_max;
	const struct corpus *corpus; /* messages in turn instead; NULL: made */
	bool starttls, tls;          /* tls: from the first octet on */
	/* as struct smtp_client_demand has them */
	bool lmtp;
	uint16_t ignored;
	uint32_t bdat_min;
	uint8_t mechanisms;
	struct sasl_login login; /* user NULL: no AUTH */
};

#define SOURCE_SERIES_MAX 7200 /* seconds that are told one by one */

/* One second, from the start, with the warm-up. */
struct source_second {
	uint32_t accepted, refused; /* messages */
	uint32_t slowest_us;
	uint64_t sum_us; /* of the answers to those accepted */
};

/* What main reads. */
struct source_figures {
	_Atomic uint64_t begun, accepted, refused; /* messages; refused: by any recipient */
	_Atomic uint64_t rcpts_accepted, octets;
	_Atomic uint64_t connections;
	_Atomic uint64_t ready, ready_most; /* sessions that wait for a message */
	_Atomic uint64_t held_us;           /* hold: until all were open; 0: they are not */
	_Atomic uint64_t behind; /* open loop: messages that are due and wait for a session */
	_Atomic uint64_t refusals[SOURCE_STAGE_N][SOURCE_REFUSAL_N];
	/* since the warm-up */
	_Atomic uint64_t measured, measured_octets;
	uint64_t measured_from_us, measured_to_us;
	struct hist connect_us, accept_us;
	_Atomic bool finished;
	char first_refusal[256];
	struct source_second series[SOURCE_SERIES_MAX];
	_Atomic uint32_t series_n;
};

struct source;

/* NULL: no memory. */
struct source *source_create(const struct source_conf *conf, struct engine *e,
	const struct conn_tls *tls, struct ledger *ledger, uint32_t run);
void source_destroy(struct source **s);
/* Each lap. */
unsigned source_poll(void *source, uint64_t now_us);
/* Any thread: begin no more messages. */
void source_end(struct source *s);
struct source_figures *source_figures(struct source *s);
/* Any thread: sessions that are open or opening. */
uint32_t source_open(const struct source *s);
/* Octets of memory for each session. */
size_t source_session_octets(void);
