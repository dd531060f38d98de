/* SPDX-License-Identifier: BSD-3-Clause
 * IMAP as an access_server; struct imap_server is that server under its public name.
 * OWNER: the control core's thread. */
#include "store/imap/imap_server.h"
#include "store/imap/imap_session.h"

static const struct access_proto imap_proto = {
	.name = "imap",
	.engine_bytes = sizeof(struct imap_session),
	.connections = CTR_IMAP_CONNECTIONS,
	.idle_min_us = 1800 * US_PER_SEC, /* RFC 3501 5.4 */
	.spaces = {[ACCESS_SPACE_COMMAND] = 16, [ACCESS_SPACE_UIDS] = 8, [ACCESS_SPACE_SCAN] = 8},
	.init = imap_session_init,
};

static struct access_server *common(struct imap_server *s)
{
	return (struct access_server *)s;
}

struct imap_server *imap_server_create(
	struct access *a, struct access_ports ports, uint32_t sessions_max)
{
	return (struct imap_server *)access_server_create(a, &imap_proto, ports, sessions_max);
}

int imap_server_listen(struct imap_server *s)
{
	return access_server_listen(common(s));
}

void imap_server_drain(struct imap_server *s)
{
	access_server_drain(common(s));
}

uint32_t imap_server_sessions(const struct imap_server *s)
{
	return access_server_sessions((const struct access_server *)s);
}

void imap_server_destroy(struct imap_server **s)
{
	struct access_server *server = common(*s);

	access_server_destroy(&server);
	*s = NULL;
}
