/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/lone_app.h"
#include "dataplane/base/rt/eal.h"

#define EAL_MB 64

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct lone_app *a = l->ctx;

	(void)peer;
	(void)local;
	if (a->open)
		return NULL;
	a->stream = (struct stream){.ops = a->ops};
	a->open = true;
	a->accepted++;
	return &a->stream;
}

void lone_app_init(struct lone_app *a, const struct stream_ops *ops, unsigned receive_frames,
	unsigned send_frames)
{
	eal_start_for_tests(EAL_MB);
	host_pools_init(&a->pools, "f", receive_frames, send_frames);
	a->listener = (struct listener){.accept = on_accept, .ctx = a};
	a->ops = ops;
}

void lone_app_begin(struct lone_app *a, const struct host_conf *conf, uint16_t port)
{
	a->open = false;
	a->accepted = 0;
	lone_init(&a->lone, &a->pools, conf);
	lone_arp(&a->lone);
	BUG_ON(stack_listen(a->lone.host.stack, port, &a->listener) < 0);
}

void lone_app_end(struct lone_app *a)
{
	lone_fini(&a->lone);
}

size_t lone_app_take(struct stream *s, struct bytes data)
{
	(void)s;
	return data.n;
}

void lone_app_closed(struct stream *s, enum stream_reason reason)
{
	struct lone_app *a = container_of(s, struct lone_app, stream);

	(void)reason;
	BUG_ON(!a->open);
	a->open = false;
}
