/* SPDX-License-Identifier: BSD-3-Clause
 * What `top` asks the daemon for. */
#include "store/ctl/top.h"
#include "dataplane/base/clock.h"

/* The lines of an answer as an array; NULL: it failed, and ctl->error says why. */
static json_t *ask(struct ctl *c, json_t *request)
{
	json_t *lines = json_array();
	int exit = ctl_send(c, request);

	while (exit == CTL_OK) {
		json_t *object = ctl_receive(c);
		if (!object) {
			exit = CTL_ERROR;
			break;
		}
		bool last = ctl_is_last(c, object, &exit);
		if (!last && json_array_size(lines) < PAGE_LINES)
			json_array_append(lines, object);
		json_decref(object);
		if (last && exit == CTL_NOT_FOUND)
			exit = CTL_OK; /* what was there is not any more: no lines */
		if (last)
			break;
	}
	if (exit == CTL_OK)
		return lines;
	json_decref(lines);
	return NULL;
}

static json_t *ask_one(struct ctl *c, const char *command)
{
	json_t *lines = ask(c, json_pack("{s:s}", "command", command));
	json_t *first = lines ? json_incref(json_array_get(lines, 0)) : NULL;

	json_decref(lines);
	return first;
}

static void keep(json_t **place, json_t *fresh)
{
	json_decref(*place);
	*place = fresh;
}

static json_t *list_request(const struct top *t)
{
	if (t->view == TOP_TCP)
		return json_pack("{s:s, s:s, s:i}", "command", "tcp list", "sort", top_sort_name(t),
			"limit", TOP_ROWS);
	if (t->view == TOP_WHY)
		return json_pack("{s:s, s:i}", "command", "why", "limit", 20);
	if (t->view == TOP_QUEUE || t->view == TOP_OVERVIEW)
		return json_pack("{s:s, s:i}", "command", "queue domains", "limit", TOP_ROWS);
	return NULL;
}

static json_t *detail_request(const struct top *t)
{
	if (t->view == TOP_TCP)
		return json_pack("{s:s, s:s}", "command", "tcp show", "id", t->detail_key);
	return json_pack(
		"{s:s, s:s, s:i}", "command", "queue list", "domain", t->detail_key, "limit", 100);
}

static bool fetch_parts(struct top *t)
{
	json_t *status = ask_one(t->ctl, "status");
	json_t *net = status ? ask_one(t->ctl, "net") : NULL;
	json_t *request = net ? list_request(t) : NULL;
	json_t *list = request ? ask(t->ctl, request) : NULL;
	json_t *detail = t->detail && net ? ask(t->ctl, detail_request(t)) : NULL;
	bool whole = status && net && (!request || list) && (!t->detail || detail);

	if (!whole) {
		json_decref(status);
		json_decref(net);
		json_decref(list);
		json_decref(detail);
		return false;
	}
	keep(&t->status, status);
	keep(&t->net, net);
	keep(&t->list, list);
	keep(&t->detail_list, detail);
	return true;
}

bool top_fetch(struct top *t)
{
	uint64_t began = clock_mono_us();

	t->connected = fetch_parts(t);
	if (!t->connected)
		ctl_close(t->ctl); /* a new connection next time */
	t->latency_ms = (clock_mono_us() - began) / 1000;
	t->fetched_ms = clock_wall_ms();
	return t->connected;
}

void top_forget(struct top *t)
{
	keep(&t->status, NULL);
	keep(&t->net, NULL);
	keep(&t->list, NULL);
	keep(&t->detail_list, NULL);
}

json_t *top_json(const struct top *t)
{
	return json_pack("{s:s, s:I, s:O, s:O, s:O}", "view", top_view_name(t->view), "at_ms",
		(json_int_t)t->fetched_ms, "status", t->status ? t->status : json_null(), "net",
		t->net ? t->net : json_null(), "list", t->list ? t->list : json_null());
}
