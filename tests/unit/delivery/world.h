/* SPDX-License-Identifier: BSD-3-Clause
 * Everything around a delivery worker, in one thread and on a clock of its own: a store that keeps
 * rows in an array, a resolver with a table, and mail servers behind fake streams.  The worker's
 * ops travel over real channels; the world serves them when it is stepped. */
#pragma once
#include "delivery/delivery_priv.h"

#define WORLD_MESSAGES 2000
#define WORLD_RCPTS    8
#define WORLD_BODY     (200 * 1024)

struct world_rcpt {
	char address[64];
	bool queued, held, warned, failed;
	uint32_t attempts;
	unsigned copies;  /* that a server took */
	unsigned excused; /* copies whose answer did not come through */
	uint64_t next_ms;
	uint16_t code;
	char reason[STORE_REASON_MAX + 1];
};

struct world_message {
	uint64_t id, expire_ms;
	char sender[64];
	const char *body; /* NULL: a small one of its own */
	size_t body_n;
	uint32_t rcpt_count;
	struct world_rcpt rcpts[WORLD_RCPTS];
	unsigned delivered; /* copies that a server took, times recipients */
};

/* Steps of a session, of a server's view. */
enum world_step {
	AT_NONE,
	AT_CONNECT,
	AT_GREETING,
	AT_EHLO,
	AT_MAIL,
	AT_RCPT,
	AT_DATA,
	AT_CONTENT, /* hangs: its window is closed */
	AT_FINAL,
	AT_QUIT,
	AT_N
};

/* How a host answers; set per address. */
struct world_host {
	const char *ip;
	bool refuse;      /* no connection */
	bool silent;      /* no answer to who connects */
	uint8_t hangs_at; /* enum world_step: nothing is heard of it from there on */
	uint8_t drops_at; /* ... or it resets the connection */
	uint8_t says_at;  /* ... or says this; 421 ends the session */
	const char *says;
	uint32_t delay_ms;    /* of each answer */
	const char *greeting; /* NULL: 220 */
	const char *rcpt;     /* NULL: 250 */
	const char *final;    /* NULL: 250 */
	bool drop_second;     /* close on the second MAIL of a connection */
	bool babbles;         /* one reply more than it is asked for, to EHLO */
	bool dsn;             /* offered */
	const char *limits;   /* a line of the answer to EHLO; NULL: none */
	bool starttls;        /* offered */
	bool tls_fails;       /* in the handshake */
	bool tls_other_name;  /* its certificate has the second name that it may have */
	bool tlsa_fails;      /* no answer about its TLSA records */
	bool tlsa_insecure;   /* they are there, not validated */
	uint8_t tlsa_usage;   /* its TLSA record has this usage; 0: none */
	/* seen: the last handshake, those done, those with a ticket */
	char tls_name[64], tls_second_name[64];
	enum tls_trust tls_trust;
	unsigned tls, resumed, in_clear, tlsa_queries;
	unsigned connects, transactions, rcpts;
};

struct world_server {
	struct stream *s;
	struct world_host *host;
	char line[512];
	size_t line_n;
	bool data, closing, handshake, secured, hung, bye, mailing;
	uint64_t answer_us; /* what is in out goes then; 0: nothing is */
	unsigned mails;
	char *content; /* not of chunks: these are the relay's to run out of */
	size_t content_n;
	struct world_message *taken; /* the answer is in out */
	char rcpts[WORLD_RCPTS * 4][64];
	unsigned rcpt_n;
	char out[2048];
	size_t out_n;
};

#define WORLD_SERVERS  300
#define WORLD_HOSTS    300
#define WORLD_DNS_HELD 600

/* What becomes of a question to the resolver. */
struct world_dns {
	uint64_t delay_us;
	bool fails;
};

struct world {
	struct core core;
	struct delivery *d;
	struct delivery_channels ch;
	struct channel writer, reader, dns;
	struct hints ready;
	struct waker server_waker;
	struct world_message messages[WORLD_MESSAGES];
	uint32_t message_n;
	struct world_host hosts[WORLD_HOSTS];
	char ips[WORLD_HOSTS][IP_TEXT_MAX];
	struct world_server servers[WORLD_SERVERS];
	char bounce_to[64];
	char bounce_text[16384];
	unsigned bounces, results, read_bodies;
	bool bounces_refused; /* result_status may have been -EINVAL */
	struct delivery_conf conf;
	uint32_t ring;
	uint32_t numbered_ttl; /* of the numbered domains; 0: 300 s */
	int result_status;     /* forced, once */
	atomic_uint health;    /* of the store: STORE_FAILED */
	bool no_chunks_once;
	bool dns_hangs;                                 /* for names that begin with "dead" */
	struct world_dns (*dns_plan)(const char *name); /* NULL: an answer at once */
	struct {
		struct op *op;
		uint64_t due_us;
		bool fails;
	} dns_held[WORLD_DNS_HELD];
	unsigned dns_held_n;
	int connect_error;        /* of every connection from now on; 0: none */
	unsigned connects_failed; /* ... and how many there were */
	int tls_error;            /* of every tls_connect from now on; 0: none */
	uint8_t notify, ret;      /* of all recipients and messages from now on */
	const char *orcpt;
	bool secure; /* answers of the resolver are validated */
	/* www.example.org, at mx1's address: what it stands for; NULL: it is no alias */
	const char *alias;
	bool alias_insecure, alias_fails;
	unsigned tickets; /* held by the worker */
};

extern struct world *world;

/* ring: capacity of every channel.  conf: fields left 0 get test values. */
void world_start(uint32_t ring, struct delivery_conf conf);
void world_stop(void);
/* The worker is stopped, without waiting for long, and another one begins with the same store. */
void world_restart(void);
/* Add a queued message; rcpts: addresses separated by spaces. */
struct world_message *world_message(const char *sender, const char *rcpts);
/* Its ready hint, with the message in memory; streamed: the body only in the store. */
void world_hint(struct world_message *m, bool streamed);
void world_hint_id(uint64_t id);
/* One lap. */
void world_step(void);
/* Laps until nothing has moved for a while. */
void world_settle(void);
void world_advance_ms(uint64_t ms);
struct world_host *world_host(const char *ip);
/* m<n>.example.org, the only host of the domain h<n>.example.org. */
struct world_host *world_host_of(unsigned n);
unsigned world_queued(void);

/* ---- world_dns.c, for world.c ---- */

/* Answers, or holds the question for later. */
void world_dns_serve(struct op *op);
/* What was held for long enough is answered; how many. */
unsigned world_dns_held(void);
/* All that is held fails. */
unsigned world_dns_fail_held(void);
