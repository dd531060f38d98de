/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/routes.h"
#include <errno.h>

static void hop_make(const struct config_root *c, const struct config_route *r, struct hop *h)
{
	*h = (struct hop){.domain = r->domain,
		.host = r->host[0] ? r->host : NULL,
		.transport = (uint8_t)r->transport,
		.level = (uint8_t)(r->tls ? r->tls - 1 : c->delivery.tls),
		.names = r->names.v,
		.name_count = r->names.n};
}

int routes_make(const struct config *c, struct routes *r, char *error, size_t error_n)
{
	const struct config_relay *relay = &c->root.relay;

	*r = (struct routes){.hops = calloc(relay->routes_n + 1, sizeof(*r->hops))};
	if (!r->hops) {
		snprintf(error, error_n, "key relay.routes: out of memory");
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < relay->routes_n; i++)
		hop_make(&c->root, &relay->routes[i], &r->hops[r->count++]);
	return 0;
}

void routes_free(struct routes *r)
{
	free(r->hops);
	*r = (struct routes){0};
}
