/* SPDX-License-Identifier: BSD-3-Clause
 * The source: sessions that send numbered messages by smtp/client, as fast as they are answered
 * (closed loop) or at a rate (open loop; latency counts from when a message was meant to begin).
 * OWNER: the engine's thread; main reads the figures meanwhile, and may see some more or less. */
#pragma once
#include "bench/engine.h"
#include "bench/hist.h"
#include "bench/ledger.h"
#include "dataplane/tls/tls.h"

#define SOURCE_SIZES_MAX   64
#define SOURCE_DOMAINS_MAX 64
#define SOURCE_RCPTS_MAX   512
#define SOURCE_ADDRESS_MAX 200 /* octets, with the number before it */

enum source_stage { /* of a refusal */
	SOURCE_CONNECT,
	SOURCE_GREETING, /* up to EHLO and TLS */
	SOURCE_ENVELOPE, /* MAIL, RCPT */
	SOURCE_DATA,     /* DATA, and the end of data */
	SOURCE_STAGE_N
};
extern const char *const source_stage_names[SOURCE_STAGE_N];

enum source_refusal { SOURCE_4XX, SOURCE_5XX, SOURCE_LOST, SOURCE_REFUSAL_N };

struct source_conf {
	struct endpoint to;
	uint32_t sessions;       /* -s */
	uint64_t messages;       /* -m; 0: until seconds have passed */
	double seconds;          /* 0: until messages were sent */
	double warm_up;          /* seconds that are not counted */
	uint32_t per_connection; /* 0: no limit (-d) */
	uint32_t rcpts;          /* -r */
	bool number_rcpts;       /* -N */
	double rate;             /* messages/s, open loop; 0: closed */
	double ramp;             /* seconds to come to that rate */
	char from[SOURCE_ADDRESS_MAX], to_local[SOURCE_ADDRESS_MAX];
	char hello[256];
	struct {
		char name[SOURCE_ADDRESS_MAX];
		uint32_t weight;
	} domains[SOURCE_DOMAINS_MAX];
	unsigned domain_count;
	uint64_t sizes[SOURCE_SIZES_MAX]; /* in turn; one: fixed */
	unsigned size_count;
	double lognormal_median, lognormal_sigma; /* median 0: the list */
	uint64_t size_max;
	bool starttls, tls; /* tls: from the first octet on */
	bool lmtp;          /* -L: RFC 2033 */
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
	_Atomic uint32_t open;
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

/* NULL: no memory.  tls: for starttls, its poller is the caller's. */
struct source *source_create(const struct source_conf *conf, struct engine *e, struct tls *tls,
	struct tls_config *tls_config, struct ledger *ledger, uint32_t run);
void source_destroy(struct source **s);
/* Each lap. */
unsigned source_poll(void *source, uint64_t now_us);
/* Any thread: begin no more messages. */
void source_end(struct source *s);
struct source_figures *source_figures(struct source *s);
