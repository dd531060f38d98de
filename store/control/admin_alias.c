/* SPDX-License-Identifier: BSD-3-Clause
 * Admin commands about aliases and domains. */
#include "store/control/admin_priv.h"
#include <errno.h>
#include "smtp/address.h"
#include "store/directory.h"

static bool is_local(struct admin_client *c, struct bytes address)
{
	const struct directory *d = shards_directory(c->admin->daemon->store);
	struct directory_entry entry;

	return d->lookup(d, address, &entry) != DIRECTORY_REMOTE;
}

/* user@domain in canonical form, lower case. */
static bool address_take(const char *text, char out[ADDRESS_MAX + 1])
{
	char canonical[ADDRESS_MAX];
	struct address parsed;
	struct buf b;

	buf_init(&b, canonical, sizeof(canonical));
	if (!text || address_parse_mailbox(bytes_str(text), &b, &parsed) < 0)
		return false;
	out[directory_fold(buf_view(&b), out)] = '\0';
	return true;
}

/* Of an alias: @domain as well. */
static bool alias_take(struct admin_client *c, const json_t *request)
{
	struct alias_work *w = &c->work.alias;
	char catch_all[ADDRESS_MAX + 1];
	bool ok;
	const char *text = admin_text(request, "address", ADDRESS_MAX, &ok);

	/* The same rules for the domain, with a name in front. */
	snprintf(catch_all, sizeof(catch_all), "x%s", text ? text : "");
	bool catches = text && text[0] == '@' && strlen(text) < ADDRESS_MAX;
	if (!address_take(catches ? catch_all : text, w->address)) {
		admin_fail(c, "the address must be of the form user@domain or @domain");
		return false;
	}
	if (!is_local(c, bytes_str(w->address))) {
		admin_fail(c, "the domain of the address is not local");
		return false;
	}
	w->alias.address = bytes_str(w->address + catches);
	return true;
}

static bool targets_take(struct admin_client *c, const json_t *request)
{
	struct alias_work *w = &c->work.alias;
	const json_t *list = json_object_get(request, "targets"), *one;
	size_t i, n = 0;

	json_array_foreach(list, i, one)
	{
		char address[ADDRESS_MAX + 1];
		if (!address_take(json_string_value(one), address)) {
			admin_fail(c, "target %zu must be of the form user@domain", i + 1);
			return false;
		}
		size_t octets = strlen(address) + 1;
		if (n + octets > sizeof(w->targets)) {
			admin_fail(c, "too many targets");
			return false;
		}
		memcpy(w->targets + n, address, octets);
		n += octets;
	}
	if (n == 0)
		admin_fail(c, "targets must be a list of addresses");
	w->alias.targets = bytes_make(w->targets, n);
	return n > 0;
}

static void answer(struct admin_client *c, int status, const char *name)
{
	if (status == 0)
		admin_done(c, json_pack("{s:s}", "name", name));
	else if (status == -ENOENT)
		admin_not_found(c, "there is no %s", name);
	else
		admin_fail(c, "%s: %s", name, admin_store_error(status));
}

/* ---- aliases ---- */

static void alias_done(struct op *op)
{
	struct alias_op *a = container_of(op, struct alias_op, op);

	struct admin_client *c = container_of(a, struct admin_client, work.alias.alias);
	char name[ADDRESS_MAX + 1];

	snprintf(name, sizeof(name), "%.*s", (int)a->address.n, (const char *)a->address.p);
	answer(c, op->status, name);
}

static void alias_submit(struct admin_client *c, bool remove)
{
	struct alias_op *a = &c->work.alias.alias;

	a->op.kind = STORE_ALIAS;
	a->op.done = alias_done;
	a->remove = remove;
	c->shard = shard_of_address(c->admin->daemon, a->address);
	admin_submit(c, admin_writer(c), &a->op);
}

void admin_alias_set(struct admin_client *c, const json_t *request)
{
	if (alias_take(c, request) && targets_take(c, request))
		alias_submit(c, false);
}

void admin_alias_delete(struct admin_client *c, const json_t *request)
{
	if (alias_take(c, request))
		alias_submit(c, true);
}

/* ---- domains ---- */

static void domain_done(struct op *op)
{
	struct domain_op *d = container_of(op, struct domain_op, op);
	struct admin_client *c = container_of(d, struct admin_client, work.alias.domain);

	answer(c, op->status, c->work.alias.address + 2);
}

static void domain_submit(struct admin_client *c, const json_t *request, bool remove)
{
	struct alias_work *w = &c->work.alias;
	char text[ADDRESS_MAX + 1];
	bool ok;
	const char *domain = admin_text(request, "domain", DOMAIN_MAX, &ok);

	snprintf(text, sizeof(text), "x@%s", domain ? domain : "");
	if (!domain || !address_take(text, w->address)) {
		admin_fail(c, "domain must be a name of a domain");
		return;
	}
	w->domain.op.kind = STORE_DOMAIN;
	w->domain.op.done = domain_done;
	w->domain.remove = remove;
	w->domain.name = bytes_str(w->address + 2);
	admin_submit(c, admin_writer(c), &w->domain.op); /* shard 0 has the domains */
}

void admin_domain_add(struct admin_client *c, const json_t *request)
{
	domain_submit(c, request, false);
}

void admin_domain_delete(struct admin_client *c, const json_t *request)
{
	domain_submit(c, request, true);
}

/* ---- lists ---- */

static void list_step(struct admin_client *c);

static bool send_line(struct admin_client *c, json_t *object)
{
	c->work.alias.listed++;
	admin_send(c, json_incref(object));
	return true;
}

static void list_done(struct op *op)
{
	struct names_list_op *l = container_of(op, struct names_list_op, op);
	struct admin_client *c = container_of(l, struct admin_client, work.alias.list);

	if (op->status != 0)
		chain_free(&l->out);
	else
		admin_lines_each(&l->out, send_line, c);
	bool over = op->status != 0 || l->end;
	if (over && admin_next_shard(c, op->status)) {
		l->from[0] = '\0';
		over = false;
	}
	if (!over && c->bev)
		list_step(c);
	else if (!admin_shards_failed(c))
		admin_done(c, json_pack("{s:I}", "names", (json_int_t)c->work.alias.listed));
}

static void list_step(struct admin_client *c)
{
	struct names_list_op *l = &c->work.alias.list;

	if (!admin_may_send(c, list_step))
		return;
	l->op.done = list_done;
	admin_submit(c, admin_reader(c), &l->op);
}

void admin_alias_list(struct admin_client *c, const json_t *request)
{
	(void)request;
	c->work.alias.list.op.kind = STORE_READ_ALIASES;
	list_step(c);
}

/* Those of the configuration first. */
void admin_domain_list(struct admin_client *c, const json_t *request)
{
	const struct config_domains *d = &c->admin->daemon->config->root.domains;

	(void)request;
	for (uint32_t i = 0; i < d->local.n; i++)
		admin_send(c, json_pack("{s:s, s:b}", "domain", d->local.v[i], "configured", 1));
	c->work.alias.list.op.kind = STORE_READ_DOMAINS;
	list_step(c);
}
