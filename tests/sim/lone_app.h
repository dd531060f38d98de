/* SPDX-License-Identifier: BSD-3-Clause
 * A program of one stream on a lone stack: what fuzzers of one connection have in common.  One in a
 * process. */
#pragma once
#include "tests/sim/lone.h"

struct lone_app {
	struct host_pools pools;
	struct lone lone;
	struct stream stream;
	struct listener listener;
	const struct stream_ops *ops;
	bool open;         /* the stream is the program's */
	unsigned accepted; /* streams, since lone_app_begin */
};

/* Once, before the first input: EAL, pools with so many frames to receive into and to send from,
 * and the upcalls of streams that are accepted. */
void lone_app_init(struct lone_app *a, const struct stream_ops *ops, unsigned receive_frames,
	unsigned send_frames);
/* A stack that listens on port; while a stream is open another one is refused. */
void lone_app_begin(struct lone_app *a, const struct host_conf *conf, uint16_t port);
void lone_app_end(struct lone_app *a);
/* on_data that takes everything. */
size_t lone_app_take(struct stream *s, struct bytes data);
/* on_close that notes it. */
void lone_app_closed(struct stream *s, enum stream_reason reason);
