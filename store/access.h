/* SPDX-License-Identifier: BSD-3-Clause
 * What the mailbox servers of one core share: its channels to writer, readers and password helper,
 * the login exchange, and the hints about changed mailboxes.  One per core with CORE_CONTROL; only
 * that core's thread. */
#pragma once
#include "dataplane/core.h"
#include "dataplane/dataplane.h"
#include "store/password.h"
#include "store/store.h"

struct access {
	struct core *core;
	struct channel *writer;
	struct channel *readers[STORE_READERS_MAX];
	unsigned reader_count;
	struct channel *passwords;
	struct hints *events;
	const struct directory *directory;
	char hostname[256];
	uint64_t message_bytes_max; /* APPEND limit */
	uint64_t idle_timeout_us;   /* POP3: 10 min (RFC 1939), IMAP: 30 min (RFC 3501 5.4) at least */
	bool plaintext_login;       /* logins without TLS are allowed */
};

enum login_result { LOGIN_OK, LOGIN_WRONG, LOGIN_BUSY };

/* One login under way: directory, stored hash, password helper.  Embedded in the session; takes the
 * same time for an unknown user as for a wrong password. */
struct login {
	struct access *access;
	void (*done)(struct login *l, enum login_result result, uint32_t account);
	void *ctx;
	bool busy;
	struct credentials_op credentials;
	struct password_op password;
	char address[ADDRESS_MAX];
	size_t address_n;
};

/* user: "local@domain"; case folded as the directory does.  The password is copied and wiped.  done
 * is called later, never from inside.  The session must stay until then. */
void login_start(struct login *l, struct access *a, struct bytes user, struct bytes password);

/* Reader for work on this account: spreads accounts over the readers. */
struct channel *access_reader(struct access *a, uint32_t account);
