/* SPDX-License-Identifier: BSD-3-Clause
 * /metrics for Prometheus, on the main thread's loop and the kernel's network.  Off unless
 * metrics.port is set.  Main thread only. */
#pragma once
#include "store/control/daemon.h"

/* Bind and listen, before privileges go.  0, or -errno and a message naming the key. */
int metrics_create(struct daemon *d, char *error, size_t error_n) WARN_UNUSED;
void metrics_destroy(struct daemon *d);
