/* SPDX-License-Identifier: BSD-3-Clause
 * The text format that Prometheus reads (exposition format 0.0.4), made from the table of counters.
 * Names are bypost_ and the table's; microseconds become seconds, counters end in _total.  Main
 * thread. */
#pragma once
#include "dataplane/base/counters.h"

struct evbuffer;

/* HELP and TYPE ("counter", "gauge", "histogram") of a family; its values follow at once. */
void expose_family(struct evbuffer *out, const char *name, const char *type, const char *help);
/* One value; label NULL: none. */
void expose_value(struct evbuffer *out, const char *name, const char *label,
	const char *label_value, double v);
/* A gauge without labels, whole. */
void expose_gauge(struct evbuffer *out, const char *name, const char *help, double v);
/* Every counter, summed over the threads; those of rooms that belong to a core (core_, port_,
 * steer_, tcp_) once for each thread that is a core. */
void expose_counters(struct evbuffer *out);
void expose_histograms(struct evbuffer *out);
