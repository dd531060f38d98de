/* SPDX-License-Identifier: BSD-3-Clause
 * `tcp list` and `tcp show`: connections, asked from their cores slice by slice. */
#include "store/control/admin_priv.h"
#include <errno.h>

static void list_step(struct admin_client *c);

/* ---- one connection as an object ---- */

static void put_endpoint(json_t *o, const char *key, const struct endpoint *e)
{
	char ip[IP_TEXT_MAX], text[IP_TEXT_MAX + 16];

	ip_format(&e->ip, ip);
	snprintf(text, sizeof(text), ip_is_v4(&e->ip) ? "%s:%u" : "[%s]:%u", ip, e->port);
	json_object_set_new(o, key, json_string(text));
}

static json_t *row_json(unsigned core, const struct stack_conn_info *i)
{
	const struct {
		const char *name;
		bool on;
	} flags[] = {
		{"active",      i->active    },
		{"orphan",      i->orphan    },
		{"sack",        i->sack      },
		{"timestamps",  i->timestamps},
		{"recovery",    i->recovery  },
		{"zero-window", i->persist   },
		{"not-reading", i->rx_stopped},
	};
	json_t *o = json_object(), *list = json_array();
	char id[40];

	snprintf(id, sizeof(id), "%u.%u.%u", core, i->id.index, i->id.generation);
	json_object_set_new(o, "id", json_string(id));
	admin_put(o, "core", core);
	put_endpoint(o, "local", &i->local);
	put_endpoint(o, "peer", &i->peer);
	json_object_set_new(o, "state", json_string(stack_state_text(i->state)));
	json_object_set_new(o, "owner", json_string(i->owner));
	json_object_set_new(o, "limit", json_string(stack_limit_text(i->limit)));
	json_object_set_new(o, "congestion", json_string(i->congestion));
	for (size_t k = 0; k < ARRAY_LEN(flags); k++) {
		if (flags[k].on)
			json_array_append_new(list, json_string(flags[k].name));
	}
	json_object_set_new(o, "flags", list);
	admin_put(o, "cwnd", i->cwnd);
	if (i->ssthresh != UINT32_MAX)
		admin_put(o, "ssthresh", i->ssthresh);
	admin_put(o, "mss", i->mss);
	admin_put(o, "srtt_us", i->srtt_us);
	admin_put(o, "rttvar_us", i->rttvar_us);
	admin_put(o, "min_rtt_us", i->min_rtt_us);
	admin_put(o, "rto_us", i->rto_us);
	admin_put(o, "retransmits", i->retransmits);
	admin_put(o, "backoff", i->backoff);
	admin_put(o, "retries", i->retries);
	admin_put(o, "flight", i->flight);
	admin_put(o, "unsent", i->unsent);
	admin_put(o, "unread", i->unread);
	admin_put(o, "out_of_order_buffers", i->ooo_buffers);
	admin_put(o, "charged", i->charged);
	admin_put(o, "send_window", i->snd_wnd);
	admin_put(o, "receive_window", i->rcv_wnd);
	admin_put(o, "send_scale", i->snd_wscale);
	admin_put(o, "receive_scale", i->rcv_wscale);
	admin_put(o, "bytes_in", i->bytes_in);
	admin_put(o, "bytes_out", i->bytes_out);
	admin_put(o, "age_ms", i->age_us / US_PER_MS);
	admin_put(o, "quiet_ms", i->quiet_us / US_PER_MS);
	return o;
}

/* ---- sorting: the rows with the largest values, in a heap whose root is the smallest ---- */

static uint64_t sort_value(const struct stack_conn_info *i, enum tcp_sort by)
{
	const uint64_t values[TCP_SORT_N] = {
		[TCP_SORT_CWND] = i->cwnd,
		[TCP_SORT_SRTT] = i->srtt_us,
		[TCP_SORT_RETRANSMITS] = i->retransmits,
		[TCP_SORT_BYTES_IN] = i->bytes_in,
		[TCP_SORT_BYTES_OUT] = i->bytes_out,
		[TCP_SORT_UNSENT] = i->unsent + i->flight,
		[TCP_SORT_UNREAD] = i->charged,
		[TCP_SORT_AGE] = i->age_us,
	};

	return values[by];
}

static void swap(struct tcp_sorted *a, struct tcp_sorted *b)
{
	struct tcp_sorted t = *a;

	*a = *b;
	*b = t;
}

static void sift_down(struct tcp_sorted *heap, uint32_t n, uint32_t i)
{
	for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && heap[child + 1].value < heap[child].value)
			child++;
		if (heap[i].value <= heap[child].value)
			return;
		swap(&heap[i], &heap[child]);
	}
}

static void keep(struct tcp_work *w, const struct stack_conn_info *row)
{
	uint64_t value = sort_value(row, w->request.sort);
	uint32_t i = w->kept;

	if (w->kept == w->request.limit && value <= w->heap[0].value)
		return;
	if (w->kept == w->request.limit) {
		w->heap[0] = (struct tcp_sorted){.value = value, .core = w->core, .row = *row};
		sift_down(w->heap, w->kept, 0);
		return;
	}
	w->heap[w->kept++] = (struct tcp_sorted){.value = value, .core = w->core, .row = *row};
	for (; i > 0 && w->heap[i].value < w->heap[(i - 1) / 2].value; i = (i - 1) / 2)
		swap(&w->heap[i], &w->heap[(i - 1) / 2]);
}

/* Largest first: each root, the smallest, goes to the end. */
static void send_sorted(struct admin_client *c)
{
	struct tcp_work *w = &c->work.tcp;

	for (uint32_t n = w->kept; n > 1; n--) {
		swap(&w->heap[0], &w->heap[n - 1]);
		sift_down(w->heap, n - 1, 0);
	}
	for (uint32_t i = 0; i < w->kept; i++)
		admin_send(c, row_json(w->heap[i].core, &w->heap[i].row));
}

/* ---- the list ---- */

static void list_end(struct admin_client *c)
{
	struct tcp_work *w = &c->work.tcp;
	uint64_t found = w->found;
	bool more = w->found > w->request.limit;

	if (w->heap)
		send_sorted(c);
	admin_done(c, json_pack("{s:I, s:b}", "connections",
			      (json_int_t)MIN(found, (uint64_t)w->request.limit), "more", more));
}

static void take_row(struct admin_client *c, const struct stack_conn_info *row)
{
	struct tcp_work *w = &c->work.tcp;

	w->found++;
	if (w->heap)
		keep(w, row);
	else if (w->found <= w->request.limit)
		admin_send(c, row_json(w->core, row));
}

static void list_done(struct op *op)
{
	struct tcp_list_op *l = container_of(op, struct tcp_list_op, op);
	struct admin_client *c = container_of(l, struct admin_client, work.tcp.u.list);
	struct tcp_work *w = &c->work.tcp;

	for (uint32_t i = 0; i < l->n && op->status == 0; i++)
		take_row(c, &l->rows[i]);
	if (op->status != 0 || l->from == STACK_LIST_END) {
		w->core++;
		l->from = 0;
	}
	bool enough = !w->heap && w->found > w->request.limit;
	if (enough || !c->bev || w->core == c->admin->daemon->core_count)
		list_end(c);
	else
		list_step(c);
}

static void list_step(struct admin_client *c)
{
	struct tcp_work *w = &c->work.tcp;

	if (!admin_may_send(c, list_step))
		return;
	w->u.list.op.kind = ASK_TCP_LIST;
	w->u.list.op.done = list_done;
	admin_submit(c, &c->admin->daemon->rooms[w->core].questions, &w->u.list.op);
}

void admin_tcp_list(struct admin_client *c, const json_t *request)
{
	struct tcp_work *w = &c->work.tcp;
	const char *wrong = admin_tcp_request(request, &w->request);

	if (wrong) {
		admin_fail(c, "%s", wrong);
		return;
	}
	w->u.list.filter = w->request.filter;
	if (w->request.sort != TCP_SORT_NONE) {
		w->heap = c->owned = calloc(w->request.limit, sizeof(*w->heap));
		if (!w->heap) {
			admin_fail(c, "no memory for so many rows");
			return;
		}
	}
	list_step(c);
}

/* ---- one ---- */

static void show_done(struct op *op)
{
	struct tcp_show_op *s = container_of(op, struct tcp_show_op, op);
	struct admin_client *c = container_of(s, struct admin_client, work.tcp.u.show);

	if (op->status != 0) {
		admin_not_found(c, "no such connection");
		return;
	}
	admin_send(c, row_json(c->work.tcp.core, &s->row));
	admin_done(c, NULL);
}

void admin_tcp_show(struct admin_client *c, const json_t *request)
{
	struct tcp_work *w = &c->work.tcp;
	bool ok;
	const char *text = admin_text(request, "id", 40, &ok);

	if (!ok || !admin_conn_id(text, &w->core, &w->u.show.id)) {
		admin_fail(c, "the id must be as `tcp list` shows it, \"0.17.3\"");
		return;
	}
	if (w->core >= c->admin->daemon->core_count) {
		admin_not_found(c, "no such core");
		return;
	}
	w->u.show.op.kind = ASK_TCP_SHOW;
	w->u.show.op.done = show_done;
	admin_submit(c, &c->admin->daemon->rooms[w->core].questions, &w->u.show.op);
}
