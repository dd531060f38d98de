/* SPDX-License-Identifier: BSD-3-Clause
 * `trace`: frames of one peer or one connection, copied on the cores (dataplane/capture.h),
 * collected here in the order of their times and given to the client as lines.  One at a time;
 * bounded in seconds, packets and octets.  A client that does not read loses frames, which is
 * counted, and holds up nobody. */
#include "store/control/admin_priv.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>
#include "dataplane/base/codec.h"

#define COLLECT_MS  10  /* chosen: a hundredth of a second of a gigabit is what a ring holds */
#define COLLECT_MAX 512 /* frames in one turn of the loop */

static void tell_next(struct admin_client *c);

/* ---- the end ---- */

static void sum_rings(const struct trace_work *w, uint64_t *seen, uint64_t *drops)
{
	*seen = *drops = 0;
	for (unsigned i = 0; i < CORES_MAX && w->rings[i]; i++) {
		*seen += atomic_load_explicit(&w->rings[i]->seen, memory_order_relaxed);
		*drops += atomic_load_explicit(&w->rings[i]->drops, memory_order_relaxed);
	}
}

void admin_trace_free(struct admin_client *c)
{
	if (c->work.trace.timer)
		event_free(c->work.trace.timer);
	c->work.trace.timer = NULL;
	c->admin->tracer = NULL;
}

static void trace_end(struct admin_client *c)
{
	struct trace_work *w = &c->work.trace;
	uint64_t seen, drops;

	sum_rings(w, &seen, &drops);
	/* What matched and was neither given out nor dropped was left when the limit was reached.
	 */
	json_t *last = json_pack("{s:I, s:I, s:I, s:I}", "packets", (json_int_t)w->sent, "bytes",
		(json_int_t)w->bytes, "dropped", (json_int_t)drops, "matched", (json_int_t)seen);
	admin_trace_free(c);
	admin_done(c, last);
}

/* ---- frames to the client ---- */

static struct capture_ring *oldest(const struct trace_work *w)
{
	struct capture_ring *found = NULL;
	uint64_t ns = UINT64_MAX;

	for (unsigned i = 0; i < CORES_MAX && w->rings[i]; i++) {
		const struct capture_record *r = capture_peek(w->rings[i]);
		if (r && r->ns < ns) {
			ns = r->ns;
			found = w->rings[i];
		}
	}
	return found;
}

static void send_frame(struct admin_client *c, const struct capture_record *r)
{
	static char text[BASE64_LEN(CAPTURE_SNAP_MAX) + 1];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	base64_encode(&b, bytes_make(r + 1, r->n));
	admin_send(c, json_pack("{s:I, s:I, s:s, s:i, s:s#}", "ns", (json_int_t)r->ns, "size",
			      (json_int_t)r->size, "dir", r->out ? "out" : "in", "port",
			      (int)r->port, "frame", text, (int)b.n));
	c->work.trace.sent++;
	c->work.trace.bytes += r->n;
}

static bool has_room(const struct admin_client *c)
{
	return c->bev && evbuffer_get_length(bufferevent_get_output(c->bev)) < ADMIN_OUTPUT_HIGH;
}

static void collect(struct admin_client *c)
{
	struct trace_work *w = &c->work.trace;
	struct capture_ring *ring;

	for (unsigned n = 0; n < COLLECT_MAX && w->sent < w->request.packets && has_room(c) &&
			     (ring = oldest(w));
		n++) {
		send_frame(c, capture_peek(ring));
		capture_take(ring);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct admin_client *c = ctx;
	struct trace_work *w = &c->work.trace;

	(void)fd;
	(void)what;
	collect(c);
	if (c->bev && w->sent < w->request.packets && clock_mono_us() < w->until_us)
		return;
	event_del(w->timer);
	w->stopping = true;
	w->core = 0;
	tell_next(c);
}

static void begun(struct admin_client *c)
{
	static const struct timeval every = {.tv_usec = COLLECT_MS * 1000};
	struct trace_work *w = &c->work.trace;

	w->until_us = clock_mono_us() + w->request.seconds * US_PER_SEC;
	admin_send(
		c, json_pack("{s:b, s:I, s:I}", "tracing", 1, "snap", (json_int_t)w->request.snap,
			   "seconds", (json_int_t)w->request.seconds));
	event_add(w->timer, &every);
}

/* ---- one core after the other is told to begin, or to end ---- */

static void told(struct op *op)
{
	struct capture_op *t = container_of(op, struct capture_op, op);
	struct admin_client *c = container_of(t, struct admin_client, work.trace.u.trace);
	struct trace_work *w = &c->work.trace;

	if (++w->core < c->admin->daemon->core_count) {
		tell_next(c);
	} else if (w->stopping) {
		collect(c); /* what came until then */
		trace_end(c);
	} else {
		begun(c);
	}
}

static void tell_next(struct admin_client *c)
{
	struct trace_work *w = &c->work.trace;

	w->u.trace = (struct capture_op){
		.op = {.kind = ASK_CAPTURE, .done = told},
		.ring = w->stopping ? NULL : w->rings[w->core]
        };
	admin_submit(c, &c->admin->daemon->rooms[w->core].questions, &w->u.trace.op);
}

/* ---- the beginning ---- */

/* Written to now, so that no core finds a page missing. */
static bool make_rings(struct admin_client *c, const struct capture_filter *f)
{
	struct trace_work *w = &c->work.trace;
	unsigned n = c->admin->daemon->core_count;
	struct capture_ring *rings = aligned_alloc(CACHE_LINE, n * sizeof(*rings));

	w->timer = event_new(c->admin->daemon->events, -1, EV_PERSIST, on_timer, c);
	c->owned = rings;
	if (!rings || !w->timer)
		return false;
	memset(rings, 0, n * sizeof(*rings));
	for (unsigned i = 0; i < n; i++) {
		rings[i].filter = *f;
		w->rings[i] = &rings[i];
	}
	return true;
}

static void begin(struct admin_client *c, const struct capture_filter *f)
{
	if (!make_rings(c, f)) {
		admin_trace_free(c);
		admin_fail(c, "no memory for a trace");
		return;
	}
	c->work.trace.core = 0;
	tell_next(c);
}

static void found(struct op *op)
{
	struct tcp_show_op *s = container_of(op, struct tcp_show_op, op);
	struct admin_client *c = container_of(s, struct admin_client, work.trace.u.show);
	struct capture_filter f = {.exact = true,
		.local = s->row.local,
		.peer = s->row.peer,
		.snap = c->work.trace.request.snap};

	if (op->status == 0) {
		begin(c, &f);
		return;
	}
	admin_trace_free(c);
	admin_not_found(c, "no such connection");
}

/* Frames are mail, and perhaps passwords: those who may read the daemon's memory may see them. */
static bool may_trace(struct admin_client *c)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	return c->bev &&
	       getsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void find_conn(struct admin_client *c)
{
	struct trace_work *w = &c->work.trace;

	w->u.show = (struct tcp_show_op){
		.op = {.kind = ASK_TCP_SHOW, .done = found},
                  .id = w->request.conn
        };
	admin_submit(c, &c->admin->daemon->rooms[w->request.core].questions, &w->u.show.op);
}

void admin_trace(struct admin_client *c, const json_t *request)
{
	struct trace_work *w = &c->work.trace;
	const char *wrong = admin_trace_request(request, &w->request);

	if (!wrong && !may_trace(c))
		wrong = "only root and node.user may trace";
	if (!wrong && c->admin->tracer)
		wrong = "there is a trace under way";
	if (wrong) {
		admin_fail(c, "%s", wrong);
		return;
	}
	if (w->request.by_conn && w->request.core >= c->admin->daemon->core_count) {
		admin_not_found(c, "no such core");
		return;
	}
	c->admin->tracer = c;
	struct capture_filter f = {.net = w->request.peer, .snap = w->request.snap};
	if (w->request.by_conn)
		find_conn(c);
	else
		begin(c, &f);
}
