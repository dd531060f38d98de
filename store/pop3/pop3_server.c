/* SPDX-License-Identifier: BSD-3-Clause
 * POP3 as an access_server; struct pop3_server is that server under its public name.
 * OWNER: the control core's thread. */
#include "store/pop3/pop3_server.h"
#include "store/pop3/pop3_session.h"

static const struct access_proto pop3_proto = {
	.name = "pop3",
	.engine_bytes = sizeof(struct pop3_session),
	.connections = CTR_POP3_CONNECTIONS,
	.idle_min_us = 600 * US_PER_SEC, /* RFC 1939 3 */
	.init = pop3_session_init,
};

static struct access_server *common(struct pop3_server *s)
{
	return (struct access_server *)s;
}

struct pop3_server *pop3_server_create(
	struct access *a, struct access_ports ports, uint32_t sessions_max)
{
	return (struct pop3_server *)access_server_create(a, &pop3_proto, ports, sessions_max);
}

int pop3_server_listen(struct pop3_server *s)
{
	return access_server_listen(common(s));
}

void pop3_server_drain(struct pop3_server *s)
{
	access_server_drain(common(s));
}

uint32_t pop3_server_sessions(const struct pop3_server *s)
{
	return access_server_sessions((const struct access_server *)s);
}

void pop3_server_destroy(struct pop3_server **s)
{
	struct access_server *server = common(*s);

	access_server_destroy(&server);
	*s = NULL;
}
