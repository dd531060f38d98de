/* SPDX-License-Identifier: BSD-3-Clause
 * The operators' socket: JSON Lines over a unix socket.  One request object {"command": "..."} is
 * answered by lines of objects, the last one {"ok":true,...} or {"ok":false,"error":"...",
 * "status":"notfound"?}; then the next request is read.  Main thread only. */
#pragma once
#include "store/control/daemon.h"

struct privileges;

/* Bind the socket and listen on the daemon's event loop.  -errno and a message naming admin.socket.
 */
int admin_create(struct daemon *d, const struct privileges *p, struct admin **admin_r, char *error,
	size_t error_n) WARN_UNUSED;
/* After the threads have stopped: requests under way are forgotten. */
void admin_destroy(struct admin **admin);
