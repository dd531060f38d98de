/* SPDX-License-Identifier: BSD-3-Clause
 * The routing table of the delivery workers, made from relay.routes.  Main thread, before the cores
 * run; the workers read it until they are gone. */
#pragma once
#include "delivery/hop.h"
#include "store/control/config.h"

struct login;

struct routes {
	struct hop *hops;
	struct login *logins; /* one for each row */
	uint32_t count;
};

/* Texts stay the configuration's; passwords are read from their files, with the rights of now.
 * Returns 0 or -errno with one line in error[]. */
int routes_make(const struct config *c, struct routes *r, char *error, size_t error_n) WARN_UNUSED;
void routes_free(struct routes *r);
