/* SPDX-License-Identifier: BSD-3-Clause
 * What POP3 and IMAP servers have in common: a listener, a pool of sessions, the binding of streams
 * and store channels to engines, timeouts, scarce space.  OWNER: the core's thread. */
#pragma once
#include "dataplane/base/counters.h"
#include "store/access/access_engine.h"

struct access_conn;

/* What makes a protocol of it. */
struct access_proto {
	const char *name;
	size_t engine_bytes; /* the engine struct begins with struct access_engine */
	enum counter connections;
	uint64_t idle_min_us; /* timeouts below this are raised to it once logged in */
	unsigned spaces[ACCESS_SPACE_N];
	/* Fill in ops and whatever is the engine's own; the rest of the base is set and zeroed. */
	void (*init)(struct access_engine *e);
};

/* Before login a peer gets this long, chosen: an anonymous connection is cheap to make. */
#define ACCESS_ANONYMOUS_TIMEOUT_US (60 * US_PER_SEC)
/* ... and this long in all, whatever it sends; chosen. */
#define ACCESS_LOGIN_TIMEOUT_US (180 * US_PER_SEC)
/* When all sessions are taken, the oldest that has not logged in for so long gives way; chosen. */
#define ACCESS_STRANGER_US (2 * US_PER_SEC)
/* A command that is so long that it has a space is to be whole by then; chosen. */
#define ACCESS_COMMAND_TIMEOUT_US (60 * US_PER_SEC)
/* A peer that is to read something and takes nothing, or that is in the middle of a message and
 * sends nothing, gets this long; chosen: what waits for it is memory that others need. */
#define ACCESS_STALL_TIMEOUT_US (180 * US_PER_SEC)
/* Of limits.body_memory, for all sessions: lists of messages, and those with content under way.
 * SMTP lets peers wait when 70 % are used. */
#define ACCESS_LISTS_PERCENT  40
#define ACCESS_MEMORY_PERCENT 50
/* When half of that is used an account gets no more beyond this share of it; chosen. */
#define ACCESS_MEMORY_SHARE 4
/* How long sessions run in a lap; the one that runs then comes to the end of its command or slice,
 * and is paid for with a rest.  Chosen: what a lap may take. */
#define ACCESS_LAP_US 1000
/* One account may have this share of each kind of scarce space, and one at least; chosen. */
#define ACCESS_SPACE_SHARE 4

/* Where it listens; 0: not. */
struct access_ports {
	uint16_t clear; /* TLS by a command, when there is a certificate (RFC 2595, RFC 3501 6.2.1)
			 */
	uint16_t tls;   /* from the first octet (RFC 8314) */
};

struct access_server;
/* Main thread, before the core runs.  NULL on want of memory. */
struct access_server *access_server_create(struct access *a, const struct access_proto *proto,
	struct access_ports ports, uint32_t sessions_max);
/* Returns 0, or what stack_listen says of the port that it could not have. */
int access_server_listen(struct access_server *s) WARN_UNUSED;
/* Core's thread: no new connections; sessions end as soon as their protocol lets them. */
void access_server_drain(struct access_server *s);
uint32_t access_server_sessions(const struct access_server *s);
/* Main thread, after the core has stopped. */
void access_server_destroy(struct access_server **s);
