/* SPDX-License-Identifier: BSD-3-Clause
 * /bypost/... of DPDK's telemetry.  Its socket is in DPDK's run-time directory, made by root and
 * for root; the library runs a thread for each client, which may wait, so here the asker of a core
 * sleeps until the answer comes.  Off unless metrics.telemetry is set. */
#pragma once
#include "store/control/daemon.h"

/* Main thread.  Before the cores' rooms are made: 0 or -errno. */
int telemetry_create(struct daemon *d, char *error, size_t error_n) WARN_UNUSED;
/* A channel of the telemetry's own to a core; nothing when it is off.  0 or -errno. */
int telemetry_join(struct daemon *d, unsigned core) WARN_UNUSED;
/* First of all at the end: whoever asks after this is told nothing. */
void telemetry_destroy(struct daemon *d);
