/* SPDX-License-Identifier: BSD-3-Clause
 * What the mailbox servers of one core share: its channels to writer, readers and password helper,
 * the login exchange, and the hints about changed mailboxes.  One per core with CORE_CONTROL; only
 * that core's thread. */
#pragma once
#include "dataplane/core.h"
#include "dataplane/dataplane.h"
#include "dataplane/tls/tls.h"
#include "store/password.h"
#include "store/store.h"

/* An op that waits for credit.  Embedded in the requester, which has one op under way at most. */
struct access_waiter {
	struct list node;
	struct op *op;
};

struct access_lane {
	struct channel *channel;
	struct list waiters; /* in order of arrival */
};

/* Somebody who is told that something happened in a mailbox. */
struct access_watch {
	struct list node;
	uint64_t event;     /* mbox_event(); 0: not watching */
	uint64_t commit_us; /* of the change that is told of; 0: not known */
	void (*changed)(struct access_watch *w);
};

#define ACCESS_LANES_MAX     (STORE_SHARDS_MAX * (STORE_READERS_MAX + 1) + 1)
#define ACCESS_WATCH_BUCKETS 256

/* The first part is filled in by the composition before servers are created; on_credit of these
 * channels belongs to access from then on, and the events ring is drained by it. */
struct access {
	struct core *core;
	struct channel *writers[STORE_SHARDS_MAX];
	struct channel *readers[STORE_SHARDS_MAX][STORE_READERS_MAX];
	unsigned shard_count, reader_count;
	struct channel *passwords;
	struct hints *events[STORE_SHARDS_MAX];
	/* store_event_stamps; NULL: nothing is measured */
	const _Atomic uint64_t *event_us[STORE_SHARDS_MAX];
	const struct directory *directory;
	char hostname[256];
	uint64_t message_bytes_max; /* APPEND limit */
	uint64_t
		idle_timeout_us; /* POP3: 10 min (RFC 1939), IMAP: 30 min (RFC 3501 5.4) at least */
	uint32_t account_sessions; /* most of one account, of each server; 0: no limit */
	bool plaintext_login;      /* logins without TLS are allowed */
	struct tls *tls;           /* of the core; NULL: there is no certificate, nobody gets TLS */
	struct tls_config
		*tls_config; /* may be changed between two laps, for those who begin later */
	/* access.c's own; zero before access_prepare */
	bool prepared;
	struct access_lane lanes[ACCESS_LANES_MAX];
	unsigned lane_count;
	struct list watches[ACCESS_WATCH_BUCKETS];
};

/* Sets up what the servers share; called by their _create, once is enough.  Main thread, before the
 * core runs.  Returns 0, or -ENOSPC: the core has no room for another poller. */
int access_prepare(struct access *a) WARN_UNUSED;

/* Submit op on one of the access's channels, now or as soon as there is credit: w waits in line.  w
 * is zeroed by its owner before first use and must stay until op's done(). */
void access_submit(struct access *a, struct channel *ch, struct op *op, struct access_waiter *w);

/* Watch one mailbox; moves a watch that is set.  event 0 ends it.  w is zeroed before first use. */
void access_watch_set(struct access *a, struct access_watch *w, uint64_t event);

/* LOGIN_LIMIT: right, but the account has as many sessions as it may have. */
enum login_result { LOGIN_OK, LOGIN_WRONG, LOGIN_BUSY, LOGIN_LIMIT };

/* One login under way: directory, stored hash, password helper.  Embedded in the session; takes the
 * same time for an unknown user as for a wrong password. */
struct login {
	struct access *access;
	void (*done)(struct login *l, enum login_result result, uint32_t account);
	void *ctx;
	bool busy;
	struct access_waiter waiter;
	struct credentials_op credentials;
	struct password_op password;
	char address[ADDRESS_MAX];
	size_t address_n;
};

/* user: "local@domain"; case folded as the directory does.  The password is copied and wiped.  done
 * is called later, never from inside.  The session must stay until then. */
void login_start(struct login *l, struct access *a, struct bytes user, struct bytes password);

/* The user's credentials into l->credentials; done is called later.  The rest as above. */
void login_look_up(struct login *l, struct access *a, struct bytes user, op_done_fn done);

/* Reader for work on this account: spreads a shard's accounts over its readers. */
struct channel *access_reader(struct access *a, uint32_t account);
struct channel *access_writer(struct access *a, uint32_t account);
