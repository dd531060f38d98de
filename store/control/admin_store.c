/* SPDX-License-Identifier: BSD-3-Clause
 * Admin commands that look after the store while it is in use: check, stat, backup.  What needs the
 * store for itself is bypostd --store (offline.c). */
#include "store/control/admin_priv.h"
#include <event2/event.h>
#include <errno.h>

#define BACKUP_LOOK_US 250000 /* chosen: growth is looked at four times a second */

static bool send_line(struct admin_client *c, json_t *object)
{
	if (shards_count(c->admin->daemon->store) > 1)
		admin_put(object, "shard", c->shard);
	admin_send(c, json_incref(object));
	return true;
}

/* ---- check ---- */

static void check_step(struct admin_client *c);

static json_t *check_totals_json(const struct store_check_op *o)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "problems",
		(json_int_t)o->problems, "repaired", (json_int_t)0, "lost", (json_int_t)o->lost,
		"busy", (json_int_t)o->busy, "unlisted", (json_int_t)o->unlisted, "bodies",
		(json_int_t)o->blobs, "body_bytes", (json_int_t)o->body_bytes, "queued",
		(json_int_t)o->queued, "recipients", (json_int_t)o->recipients, "accounts",
		(json_int_t)o->accounts, "mailboxes", (json_int_t)o->mailboxes, "messages",
		(json_int_t)o->messages);
}

static void check_add(struct store_check_op *total, const struct store_check_op *o)
{
	total->problems += o->problems;
	total->lost += o->lost;
	total->busy += o->busy;
	total->unlisted += o->unlisted;
	total->blobs += o->blobs;
	total->body_bytes += o->body_bytes;
	total->queued += o->queued;
	total->recipients += o->recipients;
	total->accounts += o->accounts;
	total->mailboxes += o->mailboxes;
	total->messages += o->messages;
}

static void check_done(struct op *op)
{
	struct store_check_op *o = container_of(op, struct store_check_op, op);
	struct admin_client *c = container_of(o, struct admin_client, work.check.op);

	if (op->status == 0)
		admin_lines_each(&o->out, send_line, c);
	if (op->status == 0 && !o->end) {
		check_step(c);
		return;
	}
	if (op->status == 0)
		check_add(&c->work.check.total, o);
	if (admin_next_shard(c, op->status) && c->bev) {
		*o = (struct store_check_op){0};
		check_step(c);
	} else if (c->shard_status) {
		admin_fail(c, "the check ended: %s", admin_store_error(c->shard_status));
	} else {
		admin_done(c, check_totals_json(&c->work.check.total));
	}
}

static void check_step(struct admin_client *c)
{
	struct store_check_op *o = &c->work.check.op;

	o->stop = !c->bev; /* nobody is there to read it */
	if (!o->stop && !admin_may_send(c, check_step))
		return;
	o->op.kind = STORE_READ_CHECK;
	o->op.done = check_done;
	admin_submit(c, admin_reader(c), &o->op);
}

void admin_store_check(struct admin_client *c, const json_t *request)
{
	(void)request;
	check_step(c);
}

/* ---- stat ---- */

static void stat_step(struct admin_client *c);

static void stat_done(struct op *op)
{
	struct store_stat_op *o = container_of(op, struct store_stat_op, op);
	struct admin_client *c = container_of(o, struct admin_client, work.stat);

	if (op->status == 0)
		admin_lines_each(&o->out, send_line, c);
	if (admin_next_shard(c, op->status))
		stat_step(c);
	else if (!admin_shards_failed(c))
		admin_done(c, NULL);
}

static void stat_step(struct admin_client *c)
{
	c->work.stat.op.kind = STORE_READ_STAT;
	c->work.stat.op.done = stat_done;
	admin_submit(c, admin_reader(c), &c->work.stat.op);
}

void admin_store_stat(struct admin_client *c, const json_t *request)
{
	(void)request;
	stat_step(c);
}

/* ---- backup ---- */

static void backup_look(evutil_socket_t fd, short what, void *ctx);

static void backup_wait(struct admin_client *c)
{
	static const struct timeval every = {.tv_usec = BACKUP_LOOK_US};

	if (event_base_once(c->admin->daemon->events, -1, EV_TIMEOUT, backup_look, c, &every) < 0)
		admin_fail(c, "out of memory; the backup goes on");
}

static void backup_look(evutil_socket_t fd, short what, void *ctx)
{
	struct admin_client *c = ctx;
	char error[512];
	uint64_t octets;

	(void)fd;
	(void)what;
	switch (shards_backup_poll(c->admin->daemon->store, &octets, error, sizeof(error))) {
	case 1:
		backup_wait(c);
		return;
	case 0:
		admin_done(c, json_pack("{s:I}", "bytes", (json_int_t)octets));
		return;
	default:
		admin_fail(c, "%s", error);
	}
}

void admin_store_backup(struct admin_client *c, const json_t *request)
{
	char error[512];
	bool path_ok, limit_ok;
	const char *path = admin_text(request, "directory", 900, &path_ok);
	uint64_t limit = admin_number(request, "limit", 0, INT64_MAX, &limit_ok);

	if (!path || path[0] != '/' || !path_ok || !limit_ok) {
		admin_fail(c, "directory must be an absolute path, limit a number of octets");
		return;
	}
	if (shards_backup_start(c->admin->daemon->store, path, limit, error, sizeof(error)) < 0)
		admin_fail(c, "%s", error);
	else
		backup_wait(c);
}
