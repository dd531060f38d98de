/* SPDX-License-Identifier: BSD-3-Clause
 * The SMTP server of a core: binds connections of the stack to smtp/session engines, bodies to the
 * chunk pool, accepted messages to the writer's channel.  One per core that has CORE_DATAPLANE. */
#pragma once
#include "dataplane/core.h"
#include "dataplane/dataplane.h"
#include "dataplane/tls/tls.h"
#include "smtp/authenticator.h"
#include "smtp/handoff.h"
#include "smtp/policy.h"

struct smtp_server;

#define SMTP_SERVICES_MAX 4 /* relay, submission, submissions, and one more */

struct smtp_server_conf {
	uint32_t sessions_max;
	struct smtp_service services[SMTP_SERVICES_MAX]; /* one listener each */
	unsigned service_count;
	struct tls *tls; /* of the core; NULL: no service has TLS */
	struct tls_config *tls_config;
	struct authenticator *authenticator; /* of the core; NULL: no service has AUTH */
	/* Measuring only: answer 250 without the store.  `discard` mode. */
	bool discard;
	/* Test of the crash campaign: answer 250 before the commit.  Set only by a hidden flag of
	 * test builds (meson -Dmutants=true). */
	bool ack_early;
};

/* Main thread, before the core runs.  writers: channels from this core to the store's writers,
 * already added to the core; their on_credit belongs to the server.  policy: borrowed, may be
 * replaced between laps by smtp_server_set_policy.  Returns NULL on want of memory. */
struct smtp_server *smtp_server_create(struct core *core, const struct handoff_lanes *writers,
	const struct smtp_policy *policy, const struct smtp_server_conf *conf);
/* Start listening; 0 or -errno with the port that failed. */
int smtp_server_listen(struct smtp_server *s, uint16_t *port_r) WARN_UNUSED;
/* Core's thread: transactions that begin from now on use this snapshot. */
void smtp_server_set_policy(struct smtp_server *s, const struct smtp_policy *policy);
/* Core's thread: handshakes that begin from now on use this configuration. */
void smtp_server_set_tls(struct smtp_server *s, struct tls_config *config);
/* Core's thread: may the snapshot not be freed yet? */
bool smtp_server_uses_policy(const struct smtp_server *s, const struct smtp_policy *policy);
/* Core's thread: no new connections; idle sessions get 421, busy ones finish their transaction. */
void smtp_server_drain(struct smtp_server *s);
uint32_t smtp_server_sessions(const struct smtp_server *s);
void smtp_server_destroy(struct smtp_server **s);
