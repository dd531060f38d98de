/* SPDX-License-Identifier: BSD-3-Clause
 * New certificates and new ticket keys for a daemon that runs. */
#pragma once
#include "store/control/daemon.h"

/* Main: read the files of the tls section again and hand them to the cores.  Sessions that have
 * begun go on with what they have.  0; or -errno with the reason in error[], then nothing has
 * changed. */
int renew_certificates(struct daemon *d, char *error, size_t error_n) WARN_UNUSED;
/* Main, now and then: free what the cores have let go of, change ticket keys. */
void renew_collect(struct daemon *d, uint64_t now_us);
/* The core's thread, each lap: take what main has handed over. */
void renew_take(struct core_rooms *r);
