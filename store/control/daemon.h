/* SPDX-License-Identifier: BSD-3-Clause
 * The daemon as a whole: what main() puts together.  OWNER: the main thread, except where a field
 * says otherwise. */
#pragma once
#include "dataplane/base/counters.h"
#include "dataplane/inspect.h"
#include "dataplane/port.h"
#include "delivery/delivery.h"
#include "smtp/server.h"
#include "dataplane/tls/tls.h"
#include "dataplane/tls/tls_signer.h"
#include "store/access/authenticator.h"
#include "store/control/config.h"
#include "store/control/routes.h"
#include "store/imap/imap_server.h"
#include "store/password.h"
#include "store/pop3/pop3_server.h"
#include "store/shards.h"

struct admin;
struct certificates;
struct daemon;
struct event_base;
struct loop;
struct metrics;
struct privileges;

/* What a core tells main about itself; the core writes, main reads, each value alone. */
struct core_gauges {
	_Atomic uint32_t smtp, pop3, imap;                    /* sessions */
	_Atomic uint32_t connections, established, time_wait; /* TCP */
	_Atomic uint32_t states[STACK_STATE_N];               /* connections by state */
	_Atomic uint32_t scheduled, active, out_connections, domains, delivery_busy;
	atomic_bool loading;
	_Atomic uint32_t in_flight, credits; /* of all channels of the core */
};

/* A core's ways to one shard of the store. */
struct shard_channels {
	struct channel smtp_writer, delivery_writer, access_writer;
	struct channel auth_readers[STORE_READERS_MAX];
	struct channel delivery_readers[STORE_READERS_MAX], access_readers[STORE_READERS_MAX];
	struct hints ready, events;
};

/* Everything that hangs on one polling core. */
struct core_rooms {
	struct daemon *daemon;
	struct core *core;
	struct shard_channels shards[STORE_SHARDS_MAX]; /* those that are there */
	struct channel delivery_dns, passwords, auth_passwords, signer;
	struct channel questions;     /* main asks the core's agent (agent.h) */
	struct channel telemetry;     /* and so does DPDK's telemetry thread */
	struct access access, logins; /* of the mailbox servers; of SMTP */
	struct tls *tls;
	struct tls_config *tls_config;         /* main's: the newest one */
	struct tls_config *tls_old;            /* main's: until the core has taken that */
	_Atomic(struct tls_config *) tls_next; /* to the core */
	atomic_bool tls_taken;                 /* from the core */
	struct store_authenticator *authenticator;
	struct smtp_server *smtp;
	struct delivery *delivery;
	struct pop3_server *pop3;
	struct imap_server *imap;
	/* core's thread */
	bool drained;
	uint64_t published_us;
	/* both */
	struct core_gauges gauges;
};

/* One look at the counters; twice makes a rate. */
struct sample {
	uint64_t at_us;
	uint64_t sum[COUNTER_N];
	uint64_t core[CORES_MAX][COUNTER_N];
};
#define SAMPLES 8 /* chosen: two seconds of 250 ms */
/* Views of the histograms are this old at most, and half of it at least, when they are compared. */
#define SAMPLES_OF_HISTOGRAMS 480 /* chosen: two minutes */

/* Command line. */
struct daemon_options {
	const char *config_path;
	int ready_fd; /* -1: none */
	bool discard; /* measuring: no message comes to the store */
	bool mutant_ack_early, mutant_no_sync;
};

struct daemon {
	const struct config *config;
	struct daemon_options options;
	struct dataplane_conf dataplane;
	struct core cores[CORES_MAX];
	struct core_rooms rooms[CORES_MAX];
	unsigned core_count;
	struct shards *store;
	struct dns_service *dns;
	struct password_service *passwords;
	struct tls_signer *signer;
	struct smtp_policy policy;
	struct certificates *certificates; /* while the cores are made */
	struct routes routes;
	struct dest_shares *shares; /* of the delivery workers, when there are several */
	struct ip_addr own[PORTS_MAX * PORT_ADDRESSES_MAX];
	/* main's own way to the threads */
	struct waker waker;
	struct channel writers[STORE_SHARDS_MAX], readers[STORE_SHARDS_MAX], hasher;
	/* what daemon_stop must take down */
	bool have_waker, have_dataplane, have_messages;
	bool store_started, dns_started, passwords_started, signer_started, cores_started;
	struct admin *admin;
	struct metrics *metrics;
	struct loop *loop;
	struct event_base *events;
	int log_file; /* -1: standard error */
	uint64_t started_ms;
	uint64_t rotated_us;  /* ticket keys */
	atomic_bool draining; /* the cores' agents read it */
	struct sample samples[SAMPLES];
	struct histogram_view then[2][HISTOGRAM_N]; /* the older one first */
	unsigned sample_count;                      /* ever taken */
	uint64_t stalled_since_us[CORES_MAX]; /* watchdog: lap time already complained about */
};

/* daemon.c: start and stop, in the order of docs/architecture.md.  daemon_start returns 0 or -errno
 * with one line in error[]; whatever was started is then taken down by daemon_stop, too. */
int daemon_start(struct daemon *d, char *error, size_t error_n) WARN_UNUSED;
void daemon_stop(struct daemon *d);

/* rooms.c: channels, roles and listeners of all cores, before the cores run. */
int rooms_create(struct daemon *d, char *error, size_t error_n) WARN_UNUSED;
void rooms_destroy(struct daemon *d);

/* agent.c: a poller on each core: carries out the drain and publishes the gauges. */
int agent_add(struct core_rooms *r) WARN_UNUSED;

/* loop.c: main's event loop until SIGTERM or SIGINT and the drain behind it. */
int loop_create(struct daemon *d, char *error, size_t error_n) WARN_UNUSED;
void loop_run(struct daemon *d);
void loop_destroy(struct daemon *d);

/* Main's way to the writer and to a reader of the shard that has a message of the queue, an address
 * (of an account or alias). */
static inline unsigned shard_of_id(const struct daemon *d, uint64_t id)
{
	return ids_lane(id, shards_count(d->store));
}
static inline unsigned shard_of_address(const struct daemon *d, struct bytes address)
{
	return store_address_shard(address, shards_count(d->store));
}

/* sample.c */
void sample_take(struct daemon *d);
/* Oldest and newest sample; false while there are not two. */
bool sample_window(
	const struct daemon *d, const struct sample **old_r, const struct sample **new_r);
uint64_t core_counter(unsigned core, enum counter c);
/* Per second over the window; 0 while there is none.  core < 0: of all threads. */
double sample_rate(const struct daemon *d, int core, enum counter c);
/* What was counted in the last one or two minutes. */
void sample_histogram(const struct daemon *d, enum histogram_id h, struct histogram_view *out);
/* Share of a core's time in laps that found work, over the window: 0..1. */
double sample_busy(const struct daemon *d, unsigned core);

/* logfile.c: open log.file, owned by the user we become; 0 or -errno. */
int logfile_open(
	struct daemon *d, const struct privileges *p, char *error, size_t error_n) WARN_UNUSED;
/* SIGHUP: the same name again, after a rotation. */
void logfile_reopen(struct daemon *d);
